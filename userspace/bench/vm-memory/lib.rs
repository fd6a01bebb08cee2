// SPDX-License-Identifier: LGPL-2.1-only OR MIT
//! vm-memory, for bench.c: without and with a bitmap of what is written.

use std::arch::asm;
use std::ffi::c_void;
use std::fs::File;
use std::os::unix::io::BorrowedFd;
use std::sync::Arc;

use vm_memory::bitmap::AtomicBitmap;
use vm_memory::mmap::NewBitmap;
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestAddressSpace, GuestMemory, GuestMemoryAtomic,
    GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

/// As struct region of bench.h.
#[repr(C)]
pub struct Region {
    gpa: u64,
    len: u64,
    offset: u64,
}

/// As struct job of bench.h.
#[repr(C)]
pub struct Job {
    gpas: *const u64,
    n: usize,
    buf: *mut u8,
    len: u64,
    check: bool,
}

impl Job {
    unsafe fn gpas(&self) -> &[u64] {
        std::slice::from_raw_parts(self.gpas, self.n)
    }
}

pub struct Guest<B: NewBitmap + Clone + 'static> {
    mem: GuestMemoryMmap<B>,
    atomic: GuestMemoryAtomic<GuestMemoryMmap<B>>,
}

#[cold]
fn fail() -> ! {
    eprintln!("bench: vm-memory failed");
    std::process::abort();
}

fn ok<T, E>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => fail(),
    }
}

/// As use() of bench.h.
fn used(value: u64) {
    unsafe { asm!("/* {0} */", in(reg) value, options(nomem, nostack, preserves_flags)) }
}

unsafe fn open<B: NewBitmap + Clone + 'static>(fd: i32, regions: *const Region, n: usize) -> *mut c_void {
    let file = Arc::new(File::from(ok(BorrowedFd::borrow_raw(fd).try_clone_to_owned())));
    let regions = std::slice::from_raw_parts(regions, n)
        .iter()
        .map(|r| {
            let at = FileOffset::from_arc(file.clone(), r.offset);
            let mapping = ok(MmapRegion::<B>::from_file(at, r.len as usize));
            ok(GuestRegionMmap::new(mapping, GuestAddress(r.gpa)))
        })
        .collect();
    let mem = ok(GuestMemoryMmap::from_regions(regions));
    let atomic = GuestMemoryAtomic::new(mem.clone());
    Box::into_raw(Box::new(Guest { mem, atomic })) as *mut c_void
}

fn translate<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let mut last = 0;
    for &gpa in unsafe { job.gpas() } {
        last = ok(guest.mem.get_host_address(GuestAddress(gpa))) as u64;
        used(last);
    }
    last
}

/// As AFTER() of bench.h.
fn chase<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let mut last = 0;
    for &gpa in unsafe { job.gpas() } {
        last = ok(guest.mem.get_host_address(GuestAddress(gpa + (last >> 63)))) as u64;
        used(last);
    }
    last
}

fn read8<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let mut last = 0;
    for &gpa in unsafe { job.gpas() } {
        last = ok(guest.mem.read_obj::<u64>(GuestAddress(gpa)));
        used(last);
    }
    last
}

fn write8<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    for &gpa in unsafe { job.gpas() } {
        ok(guest.mem.write_obj(gpa, GuestAddress(gpa)));
    }
    0
}

fn read<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let buf = unsafe { std::slice::from_raw_parts_mut(job.buf, job.len as usize) };
    for &gpa in unsafe { job.gpas() } {
        ok(guest.mem.read_slice(buf, GuestAddress(gpa)));
    }
    0
}

fn write<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let buf = unsafe { std::slice::from_raw_parts(job.buf, job.len as usize) };
    for &gpa in unsafe { job.gpas() } {
        ok(guest.mem.write_slice(buf, GuestAddress(gpa)));
    }
    0
}

/// What keeps a region is the reference to all of them.
fn hold<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let mut last = 0;
    for &gpa in unsafe { job.gpas() } {
        let mem = guest.atomic.memory();
        last = ok(mem.get_host_address(GuestAddress(gpa))) as u64;
        used(last);
    }
    last
}

/// Of the region at 0.
fn harvest(guest: &Guest<AtomicBitmap>, job: &Job) -> u64 {
    let region = guest.mem.find_region(GuestAddress(0)).unwrap_or_else(|| fail());
    let bits = region.bitmap().get_and_reset();
    used(bits.as_ptr() as u64);
    if job.check {
        let words = job.len as usize / 4096 / 64;
        let out = unsafe { std::slice::from_raw_parts_mut(job.buf as *mut u64, words) };
        out.copy_from_slice(&bits[..words]);
    }
    0
}

fn hole<B: NewBitmap + Clone + 'static>(guest: &Guest<B>, job: &Job) -> u64 {
    let mut failed = 0;
    for &gpa in unsafe { job.gpas() } {
        failed += guest.mem.read_obj::<u64>(GuestAddress(gpa)).is_err() as u64;
    }
    failed
}

macro_rules! export {
    ($bitmap:ty, $open:ident, $close:ident, $($name:ident = $op:ident),*) => {
        /// # Safety
        /// There are n regions.
        #[no_mangle]
        pub unsafe extern "C" fn $open(fd: i32, regions: *const Region, n: usize) -> *mut c_void {
            open::<$bitmap>(fd, regions, n)
        }

        /// # Safety
        /// It has been opened.
        #[no_mangle]
        pub unsafe extern "C" fn $close(guest: *mut c_void) {
            drop(Box::from_raw(guest as *mut Guest<$bitmap>));
        }

        $(
            /// # Safety
            /// It has been opened; the job's pointers are good.
            #[no_mangle]
            pub unsafe extern "C" fn $name(guest: *mut c_void, job: &Job) -> u64 {
                $op(&*(guest as *const Guest<$bitmap>), job)
            }
        )*
    };
}

export!(
    (), vmm_open, vmm_close,
    vmm_translate = translate, vmm_chase = chase, vmm_read8 = read8, vmm_write8 = write8,
    vmm_read = read, vmm_write = write, vmm_hold = hold, vmm_hole = hole
);
export!(
    AtomicBitmap, vmm_bitmap_open, vmm_bitmap_close,
    vmm_bitmap_write8 = write8, vmm_bitmap_write = write, vmm_bitmap_harvest = harvest
);
