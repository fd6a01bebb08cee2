// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A driver in user space: QEMU's edu device (-device edu, behind -device intel-iommu),
 * bound to vfio-pci, moves guest memory by I/O virtual address. What is mapped, and what
 * is not any more, is up to the guest's owner; the IOMMU sees to it.
 *
 *	edu PCI-ADDRESS [iommufd]	such as 0000:00:02.0; by a container of VFIO's, or
 *					of iommufd's if that is asked for
 *
 * The memory is in a guest of /dev/guestmem, or without the module in one of this process.
 */
#include <fcntl.h>
#include <guestmem.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#endif

/* Two regions, so that one mapping spans both. */
#define GPA		0x200000ULL
#define REGION_LEN	0x4000ULL
#define RW		(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

/* The device has 28 bits of address. */
#define IOVA		0x8000000ULL

/* See docs/specs/edu.rst of QEMU. All registers that we use but the first have 8 bytes. */
#define EDU_ID		0x00
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_DMA_START	1
#define EDU_DMA_TO_RAM	2
#define EDU_BUFFER	0x40000

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(EXIT_FAILURE);
	}
}

static void check_lib(int ret)
{
	if (ret < 0) {
		fprintf(stderr, "%s\n", guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

/* -------- The device ------------------------------------------------------ */

static volatile uint8_t *edu;

static void edu_write(unsigned int reg, uint64_t value)
{
	*(volatile uint64_t *)(edu + reg) = value;
}

/* From its buffer to @iova, or from there. It tells when it is done, but not whether. */
static void edu_dma(uint64_t iova, uint64_t len, int to_ram)
{
	edu_write(EDU_DMA_SRC, to_ram ? EDU_BUFFER : iova);
	edu_write(EDU_DMA_DST, to_ram ? iova : EDU_BUFFER);
	edu_write(EDU_DMA_COUNT, len);
	edu_write(EDU_DMA_CMD, EDU_DMA_START | (to_ram ? EDU_DMA_TO_RAM : 0));
	while (*(volatile uint64_t *)(edu + EDU_DMA_CMD) & EDU_DMA_START)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* @container: its group is put into it; all that is said here is VFIO's. */
static void open_edu(const char *address, int container)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	int group, device;
	char path[128], link[128];
	uint16_t command;
	ssize_t n;
	void *p;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	n = readlink(path, link, sizeof(link) - 1);
	check(n > 0, "the device is not behind an IOMMU");
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	group = open(path, O_RDWR | O_CLOEXEC);
	check(group >= 0, "the device is not bound to vfio-pci");
	check(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
	check(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
	check(device >= 0, "VFIO_GROUP_GET_DEVICE_FD");

	/* It may not do DMA until it is told to. */
	check(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config), "its configuration");
	check(pread(device, &command, 2, (off_t)config.offset + PCI_COMMAND) == 2, "PCI_COMMAND");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	check(pwrite(device, &command, 2, (off_t)config.offset + PCI_COMMAND) == 2, "PCI_COMMAND");

	check(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar), "its registers");
	p = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
	check(p != MAP_FAILED, "its registers");
	edu = p;
	if ((*(volatile uint32_t *)(edu + EDU_ID) & 0xffff) != 0x00ed) {
		fprintf(stderr, "%s is no edu device\n", address);
		exit(EXIT_FAILURE);
	}
	/* Device and group stay open as long as we run. */
}

/* What IOVAs mean to the device. */
static struct guestmem_mapper *new_mapper(struct guestmem *g, int container, int iommufd)
{
#ifdef IOMMU_VFIO_IOAS
	struct iommu_vfio_ioas ioas = { .size = sizeof(ioas), .op = IOMMU_VFIO_IOAS_GET };

	if (iommufd) {
		check(!ioctl(container, IOMMU_VFIO_IOAS, &ioas), "IOMMU_VFIO_IOAS");
		return guestmem_mapper_iommufd(g, container, ioas.ioas_id);
	}
#else
	check(!iommufd, "built without iommufd");
#endif
	return guestmem_mapper_vfio(g, container);
}

/* -------- The guest ------------------------------------------------------- */

static struct guestmem *new_guest(void)
{
	struct guestmem *g = guestmem_open(O_RDWR);
	char *mem;

	if (!g) {
		printf("without the module: %s\n", guestmem_strerror());
		g = guestmem_create(4 << 20);
		check(!!g, "guestmem_create");
		check_lib(guestmem_add_anon(g, GPA, REGION_LEN, 0, NULL));
		check_lib(guestmem_add_anon(g, GPA + REGION_LEN, REGION_LEN, 0, NULL));
		return g;
	}
	mem = mmap(NULL, 2 * REGION_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(mem != MAP_FAILED, "mmap");
	/* Not in the order of the addresses of this process */
	check_lib(guestmem_add_user(g, GPA, REGION_LEN, mem + REGION_LEN, 0, NULL));
	check_lib(guestmem_add_user(g, GPA + REGION_LEN, REGION_LEN, mem, 0, NULL));
	return g;
}

/* A text of so many bytes, with zeros behind. */
#define LEN	64

static void put(struct guestmem *g, uint64_t gpa, const char *text)
{
	char bytes[LEN] = "";

	memcpy(bytes, text, strnlen(text, LEN));
	check_lib(guestmem_write(g, gpa, bytes, LEN));
}

static int is(struct guestmem *g, uint64_t gpa, const char *text)
{
	char bytes[LEN];

	check_lib(guestmem_read(g, gpa, bytes, LEN));
	return !strncmp(bytes, text, LEN);
}

/* The device copies, by IOVA. */
static void copy(uint64_t dst, uint64_t src)
{
	edu_dma(src, LEN, 0);
	edu_dma(dst, LEN, 1);
}

static int failed;

static void tell(int ok, const char *what)
{
	printf("%-6s %s\n", ok ? "ok" : "FAILED", what);
	fflush(stdout);
	failed |= !ok;
}

int main(int argc, char **argv)
{
	const uint64_t across = REGION_LEN - 3, out = 0x1000;
	struct guestmem_mapper *m;
	struct guestmem *g;
	int container, iommufd = argc == 3 && !strcmp(argv[2], "iommufd");

	if (argc != 2 + iommufd) {
		fprintf(stderr, "usage: edu PCI-ADDRESS [iommufd]\n");
		return 2;
	}
	container = open(iommufd ? "/dev/iommu" : "/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	check(container >= 0, "the container");
	open_edu(argv[1], container);
	g = new_guest();
	m = new_mapper(g, container, iommufd);
	check_lib(m ? 0 : -1);

	check_lib(guestmem_mapper_map(m, IOVA, 2 * REGION_LEN, GPA, RW));
	put(g, GPA + across, "in two regions");
	copy(IOVA + out, IOVA + across);
	tell(is(g, GPA + out, "in two regions"), "the device reads from two regions, and writes");

	check_lib(guestmem_mapper_unmap(m, IOVA, 2 * REGION_LEN));
	check_lib(guestmem_mapper_map(m, IOVA, REGION_LEN, GPA + REGION_LEN, RW));
	put(g, GPA + REGION_LEN, "elsewhere");
	copy(IOVA + out, IOVA);
	tell(is(g, GPA + REGION_LEN + out, "elsewhere"), "mapped anew, an IOVA means other memory");

	/* It has something in its buffer that the memory has not. */
	check_lib(guestmem_mapper_unmap(m, IOVA, REGION_LEN));
	check_lib(guestmem_fill(g, GPA, 2 * REGION_LEN, 0));
	edu_dma(IOVA + out, LEN, 1);
	tell(guestmem_is_zero(g, GPA, 2 * REGION_LEN) == 1,
	     "after the unmap, what it writes does not arrive");
	check_lib(guestmem_mapper_map(m, IOVA, REGION_LEN, GPA, GUESTMEM_RIGHT_READ));
	edu_dma(IOVA + out, LEN, 1);
	tell(guestmem_is_zero(g, GPA, 2 * REGION_LEN) == 1, "nor does it where it may only read");

	check_lib(guestmem_mapper_map(m, IOVA + REGION_LEN, REGION_LEN, GPA + REGION_LEN, RW));
	put(g, GPA, "a secret");
	copy(IOVA + REGION_LEN, IOVA);
	tell(is(g, GPA + REGION_LEN, "a secret"), "it reads what it may read");
	check_lib(guestmem_fill(g, GPA + REGION_LEN, LEN, 0));
	edu_dma(IOVA + REGION_LEN + out, LEN, 0);
	check_lib(guestmem_mapper_unmap(m, IOVA, REGION_LEN));
	copy(IOVA + REGION_LEN, IOVA);
	tell(!is(g, GPA + REGION_LEN, "a secret"), "and not what was unmapped");

	guestmem_mapper_close(m);
	check_lib(guestmem_fill(g, GPA, 2 * REGION_LEN, 0));
	edu_dma(IOVA + REGION_LEN, LEN, 1);
	tell(guestmem_is_zero(g, GPA, 2 * REGION_LEN) == 1, "without a mapper, nothing is mapped");
	guestmem_close(g);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
