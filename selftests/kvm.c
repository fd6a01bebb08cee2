// SPDX-License-Identifier: GPL-2.0-only
/*
 * A real KVM guest's memory: what the guest writes is what guestmem reads, maps and
 * lets others change, and the other way round.
 */
#include "guestmem_test.h"
#include "kvm_guest.h"

#define LOW_LEN		((size_t)8 << 20)
#define HIGH_GPA	(4ULL << 30)
#define HIGH_LEN	((size_t)8 << 20)
#define SEED		42

FIXTURE(kvm) {
	struct gm_guest guest;
	struct gm_mem low, high;
	__u32 low_id, high_id;
	struct kvm_guest *vm;
};

/* As a PC's: memory below, a hole, the rest above 4 GiB; each of another kind. */
FIXTURE_VARIANT(kvm) {
	enum gm_kind low, high;
};

FIXTURE_VARIANT_ADD(kvm, memfd_anon) { .low = GM_MEMFD, .high = GM_ANON };
FIXTURE_VARIANT_ADD(kvm, anon_thp) { .low = GM_ANON, .high = GM_THP };
FIXTURE_VARIANT_ADD(kvm, hugetlb_tmpfs) { .low = GM_HUGETLB, .high = GM_TMPFS };

FIXTURE_SETUP(kvm)
{
	struct kvm_guest_slot slots[2];

	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->low, variant->low, LOW_LEN));
	ASSERT_EQ(0, gm_mem_alloc(&self->high, variant->high, HIGH_LEN));
	slots[0] = (struct kvm_guest_slot) { 0, LOW_LEN, self->low.va };
	slots[1] = (struct kvm_guest_slot) { HIGH_GPA, HIGH_LEN, self->high.va };
	ASSERT_EQ(0, kvm_guest_create(&self->vm, slots, 2))
		TH_LOG("%s", kvm_guest_strerror());
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->low, 0, 0, LOW_LEN, 0, &self->low_id));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->high, HIGH_GPA, 0, HIGH_LEN, 0,
				&self->high_id));
}

FIXTURE_TEARDOWN(kvm)
{
	kvm_guest_destroy(self->vm);
	gm_mem_free(&self->low);
	gm_mem_free(&self->high);
	gm_guest_teardown(_metadata, &self->guest);
}

static int wrong_words(const __u64 *words, __u64 gpa, size_t len)
{
	size_t i;
	int n = 0;

	for (i = 0; i < len / 8; i++)
		n += words[i] != kvm_guest_pattern(SEED, gpa + 8 * i);
	return n;
}

TEST_F(kvm, guest_writes)
{
	const struct { __u64 gpa; size_t len; } ranges[] = {
		{ 1 << 20, LOW_LEN - (1 << 20) }, { HIGH_GPA, HIGH_LEN },
	};
	int fd = self->guest.fd, i;

	for (i = 0; i < 2; i++) {
		__u64 gpa = ranges[i].gpa;
		size_t len = ranges[i].len;
		__u64 *buf = malloc(len), *map;

		ASSERT_NE(NULL, buf);
		map = gm_mmap(fd, gpa, len, PROT_READ);
		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, kvm_guest_fill(self->vm, gpa, len, SEED));
		EXPECT_EQ(0, wrong_words(map, gpa, len));
		EXPECT_EQ((ssize_t)len, pread(fd, buf, len, gpa));
		EXPECT_EQ(0, wrong_words(buf, gpa, len));
		munmap(map, len);
		free(buf);
	}
}

TEST_F(kvm, guest_reads)
{
	__u64 gpa = HIGH_GPA + 0x3000, base = 1 << 20;
	uint64_t wrong;
	size_t len = 1 << 20;
	struct guestmem_copy copy;
	int fd = self->guest.fd;

	ASSERT_EQ(0, kvm_guest_fill(self->vm, base, len, SEED));
	ASSERT_EQ(0, gm_copy(fd, &copy, .dst = gpa, .src = base, .len = len));
	EXPECT_EQ(1, kvm_guest_verify(self->vm, gpa, len, SEED, base, &wrong));
	/* It would see a wrong byte. */
	ASSERT_EQ(1, pwrite(fd, "", 1, gpa + 0x5555));
	EXPECT_EQ(0, kvm_guest_verify(self->vm, gpa, len, SEED, base, &wrong));
	EXPECT_EQ(gpa + 0x5550, wrong);
}

struct adder {
	int fd;
	__u64 gpa;
	unsigned int times;
	int rc;
};

static void *add_by_ioctl(void *arg)
{
	struct adder *adder = arg;
	struct guestmem_atomic atomic;
	unsigned int i;

	for (i = 0; i < adder->times && !adder->rc; i++)
		adder->rc = gm_atomic(adder->fd, &atomic, .op = GUESTMEM_ATOMIC_ADD, .width = 8,
				      .gpa = adder->gpa, .operand = { 1 });
	return NULL;
}

/* Both count in one word at the same time, and no count is lost. */
TEST_F(kvm, atomic_against_the_guest)
{
	struct adder adder = { .fd = self->guest.fd, .gpa = HIGH_GPA + 64, .times = 20000 };
	pthread_t thread;
	uint64_t value;

	ASSERT_EQ(0, kvm_guest_store(self->vm, adder.gpa, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, add_by_ioctl, &adder));
	EXPECT_EQ(0, kvm_guest_add(self->vm, adder.gpa, 20000));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, adder.rc);
	ASSERT_EQ(0, kvm_guest_load(self->vm, adder.gpa, &value));
	EXPECT_EQ(40000, value);
}

/* The VMM's own mapping is the memslot: the guest does not notice a revoke. */
TEST_F(kvm, guest_runs_on_after_revoke)
{
	uint64_t value = 0, *map;

	map = gm_mmap(self->guest.fd, HIGH_GPA, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, kvm_guest_store(self->vm, HIGH_GPA, 1));
	EXPECT_EQ(1, map[0]);
	ASSERT_EQ(0, gm_revoke(self->guest.fd, self->high_id));
	ASSERT_EQ(0, kvm_guest_store(self->vm, HIGH_GPA, 2));
	ASSERT_EQ(0, kvm_guest_load(self->vm, HIGH_GPA, &value));
	EXPECT_EQ(2, value);
	/* Behind the last region now: the end of the file. */
	EXPECT_EQ(0, pread(self->guest.fd, &value, 8, HIGH_GPA));
	munmap(map, PG);
}

TEST_HARNESS_MAIN
