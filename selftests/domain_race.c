// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains whose clients die, go on reading, pass on what they have; owners who take back at
 * the same time; and memory that its process gives up meanwhile.
 *
 * ROUNDS is how often what races is tried (default 200; 100000 by hand).
 */
#include "domain.h"

#include <sys/prctl.h>

GM_FIGURE("domain operations")

/* ---- clients that die ---- */

enum step { CREATED, EXPORTED, MMAPPED, LOCKED, FAULTED, WAITED, NSTEPS };

static const char *const step_names[] = {
	"created", "exported", "mmapped", "locked", "faulted", "waited on",
};

static void tell(int fd, int value)
{
	unsigned char byte = value;

	if (write(fd, &byte, 1) != 1)
		_exit(99);
}

/* What the other side says, or -1 if it is gone. */
static int hear(int fd)
{
	unsigned char byte;

	return read(fd, &byte, 1) == 1 ? byte : -1;
}

/* Goes as far as @step, says so, and waits for its end. */
static void __attribute__((noreturn)) client(int ses, enum step step, int up, int down)
{
	unsigned char *p;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (step >= EXPORTED && (gm_export_iova(ses, 0, 2 * PG, RW, NULL) ||
				 gm_export_iova(ses, PG + 1, PG, READ, NULL)))
		_exit(1);
	if (step >= MMAPPED) {
		p = gm_mmap(ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
		if (p == MAP_FAILED || gm_peek(p) != gm_pattern(0) ||
		    gm_peek(p + PG) != gm_pattern(PG))
			_exit(2);
	}
	if (step >= LOCKED && locks(ses, 5, PG, GUESTMEM_DMA_BIDIRECTIONAL, NULL))
		_exit(3);
	tell(up, step);
	if (step >= FAULTED) {
		/* The owner has taken it back. */
		if (hear(down) < 0 || info_of(ses).broken != 1)
			_exit(4);
		tell(up, step);
	}
	for (;;)
		pause();
}

/*
 * Killed anywhere, a client leaves nothing: what waits for it ends, what comes later finds
 * nobody.
 */
TEST_F(domain, killed)
{
	struct guestmem_domain_unmap du;
	int step, up[2], down[2], status;
	struct waiter w;
	__u64 value;
	pid_t pid;

	close(self->ses);
	self->ses = -1;
	for (step = CREATED; step < NSTEPS; step++) {
		int ses = gm_session(self->dom, ALL, NULL);

		ASSERT_LE(0, ses);
		ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
		ASSERT_EQ(0, pipe2(up, O_CLOEXEC));
		ASSERT_EQ(0, pipe2(down, O_CLOEXEC));
		pid = fork();
		if (!pid)
			client(ses, step, up[1], down[0]);
		/* So that it is seen if the client has ended before. */
		close(up[1]);
		close(down[0]);
		close(ses);
		ASSERT_EQ(step, hear(up[0])) TH_LOG("%s", step_names[step]);
		EXPECT_EQ(step >= EXPORTED ? 2 : 0, info_of(self->dom).nexports);
		if (step >= FAULTED) {
			EXPECT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .len = 4 * PG,
							.eventfd = self->efd,
							.flags = GUESTMEM_UNMAP_EVENTFD));
			EXPECT_EQ(3, du.nusers);
			tell(down[1], 0);
			ASSERT_EQ(step, hear(up[0]));
		}
		if (step >= WAITED) {
			ASSERT_EQ(0, waiter_start(&w, self->dom, 0, 4 * PG));
			usleep(SHORT_MS * 1000);
			EXPECT_FALSE(atomic_load(&w.done));
		}
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		if (step >= FAULTED) {
			value = take(self->efd, SOON_MS);
			EXPECT_EQ(1, value) TH_LOG("%s", step_names[step]);
		} else {
			EXPECT_EQ(0, TAKE_BACK(self->dom, &du, .len = 4 * PG,
					       .timeout_ms = SOON_MS))
				TH_LOG("%s", step_names[step]);
		}
		if (step >= WAITED) {
			EXPECT_TRUE(waiter_ends(&w));
			EXPECT_EQ(0, w.ret);
		}
		EXPECT_TRUE(settles(self->dom, 0)) TH_LOG("%s", step_names[step]);
		EXPECT_EQ(0, info_of(self->dom).nexports);
		EXPECT_EQ(1, info_of(self->fd).nviews);
		++*gm_figure;
		close(up[0]);
		close(down[1]);
	}
	/* Not even of the regions. */
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
}

/* At any time, not only between two steps. */
TEST_F(domain, killed_in_between)
{
	unsigned long rounds = number("ROUNDS", 200) / 10 + 1, round;
	unsigned int seed = (unsigned int)number("SEED", 1);
	struct guestmem_domain_unmap du;
	int status;
	pid_t pid;

	close(self->ses);
	self->ses = -1;
	for (round = 0; round < rounds; round++) {
		ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
		pid = fork();
		if (!pid) {
			int ses = gm_session(self->dom, ALL, NULL);
			unsigned char *p = gm_mmap(ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
			__u32 h;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			/* What is inherited would outlive it. */
			close(self->dom);
			for (;;) {
				gm_export_iova(ses, 0, 4 * PG, RW, NULL);
				gm_peek(p + PG);
				locks(ses, 0, 4 * PG, GUESTMEM_DMA_TO_DEVICE, &h);
				gm_unlock_handle(ses, h);
				gm_release_all(ses);
			}
		}
		usleep(rand_r(&seed) % 20000);
		if (round % 2)
			gm_unmap_iova(self->dom, 0, 4 * PG);
		usleep(rand_r(&seed) % 2000);
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(0, TAKE_BACK(self->dom, &du, .len = 4 * PG, .timeout_ms = SOON_MS))
			TH_LOG("round %lu", round);
		EXPECT_TRUE(settles(self->dom, 0));
		EXPECT_EQ(0, info_of(self->dom).nexports);
		++*gm_figure;
	}
}

/* Killed owners end it all, too. */
TEST_F(domain, owner_killed)
{
	int up[2], sock[2], status, ses;
	unsigned char *p;
	pid_t pid;

	close(self->ses);
	close(self->dom);
	self->ses = -1;
	self->dom = -1;
	ASSERT_EQ(0, pipe2(up, O_CLOEXEC));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	pid = fork();
	if (!pid) {
		int dom = gm_domain(self->fd, ALL);

		ses = gm_session(dom, ALL, NULL);
		if (gm_map_iova(dom, 0, 4 * PG, FIRST, RW) || gm_send_fd(sock[0], ses))
			_exit(1);
		close(ses);
		hear(up[0]);
		gm_domain_unmap(dom, &(struct guestmem_domain_unmap){ 0 }, .len = 4 * PG,
				.deadline_ms = FOREVER, .timeout_ms = FOREVER);
		_exit(2);
	}
	ses = gm_receive_fd(sock[1]);
	ASSERT_LE(0, ses);
	ASSERT_EQ(0, gm_export_iova(ses, 0, PG, RW, NULL));
	p = gm_mmap(ses, 0, 4 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	/* In the middle of a wait for us. */
	tell(up[1], 0);
	usleep(SHORT_MS * 1000);
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-ESTALE, reads(ses, 0, 0, 1));
	EXPECT_EQ(0, gm_rights(ses));
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
	munmap(p, 4 * PG);
	close(ses);
	close(up[0]);
	close(up[1]);
	close(sock[0]);
	close(sock[1]);
}

/* A session is its file: who has that is a client, as long as there is one. */
TEST_F(domain, forked_and_passed_on)
{
	int up[2], down[2], sock[2], status, got;
	struct guestmem_domain_unmap du;
	unsigned char *p;
	pid_t pid;

	ASSERT_EQ(0, pipe2(up, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(down, O_CLOEXEC));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	pid = fork();
	if (!pid) {
		unsigned char *q;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The mapping is not inherited, but can be made, perhaps at the same place. */
		if (gm_peek(p) != -SIGSEGV)
			_exit(1);
		q = gm_mmap(self->ses, 0, 4 * PG, PROT_READ);
		if (q == MAP_FAILED || gm_peek(q) != gm_pattern(0) ||
		    gm_export_iova(self->ses, 2 * PG, PG, RW, NULL))
			_exit(4);
		tell(up[1], 0);
		hear(down[0]);
		if (gm_peek(q) != -SIGBUS || gm_peek(q + 2 * PG) != -SIGBUS ||
		    writes(self->ses, 0, 1) != -ENXIO ||
		    gm_export_iova(self->ses, 0, PG, RW, NULL) != -ESTALE)
			_exit(2);
		/* Now its exports are those of all of them. */
		_exit(gm_release_all(self->ses) == 2 ? 0 : 3);
	}
	close(up[1]);
	close(down[0]);
	ASSERT_EQ(0, hear(up[0]));
	EXPECT_EQ(2, info_of(self->ses).nexports);
	EXPECT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .len = 4 * PG));
	EXPECT_EQ(2, du.nusers);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	tell(down[1], 0);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(settles(self->dom, 0));
	munmap(p, 4 * PG);

	/* In a message that nobody has read yet, it is still there. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	ASSERT_EQ(0, gm_send_fd(sock[0], self->ses));
	close(self->ses);
	self->ses = -1;
	EXPECT_EQ(1, info_of(self->dom).nexports);
	got = gm_receive_fd(sock[1]);
	ASSERT_LE(0, got);
	EXPECT_EQ(0, reads(got, PG, PG, PG));
	ASSERT_EQ(0, gm_send_fd(sock[0], got));
	close(got);
	EXPECT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .len = 4 * PG));
	/* The message is lost, and the session with it. */
	close(sock[0]);
	close(sock[1]);
	EXPECT_TRUE(settles(self->dom, 0));
	close(up[0]);
	close(down[1]);
}

/* ---- clients that go on reading ---- */

/**
 * struct spin - what owner and client of a spinning test share
 * @round: what the owner has mapped; the client exports it
 * @reading: the round of which the client has seen a byte by its mapping
 * @done: the round of which the client has seen the end
 * @late: what it read that was written after UNMAP had returned, if anything
 * @writes_late: whether it shall write, not read
 * @stop: no more rounds
 */
struct spin {
	atomic_ulong round;
	atomic_ulong reading;
	atomic_ulong done;
	atomic_ulong late;
	bool writes_late;
	atomic_bool stop;
};

/* While it is exported memory says 2 * round, afterwards 2 * round + 1. */
static void __attribute__((noreturn)) spinner(struct spin *spin, int ses)
{
	volatile unsigned long *p = gm_mmap(ses, 0, 2 * PG, PROT_READ | PROT_WRITE);
	/* volatile: these live across a jump out of the signal's handler. */
	volatile unsigned long round, mine = 0;
	unsigned long word, by_read;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	gm_sig_install();
	if ((void *)p == MAP_FAILED)
		_exit(1);
	while (!atomic_load(&spin->stop)) {
		round = atomic_load(&spin->round);
		if (round == mine) {
			sched_yield();
			continue;
		}
		mine = round;
		if (gm_export_iova(ses, 0, PG, RW, NULL))
			_exit(2);
		if (!sigsetjmp(gm_sig_env, 1)) {
			gm_sig_armed = 1;
			for (;;) {
				if (spin->writes_late)
					p[1] = 2 * round;
				word = p[0];
				if (word != 2 * round)
					atomic_store(&spin->late, word);
				if (atomic_load(&spin->reading) != round)
					atomic_store(&spin->reading, round);
			}
		}
		gm_sig_armed = 0;
		/* Nor by any other way. */
		if (pread(ses, &by_read, sizeof(by_read), 0) > 0)
			atomic_store(&spin->late, by_read);
		if (gm_release_all(ses) != 1)
			_exit(3);
		atomic_store(&spin->done, round);
	}
	_exit(0);
}

static bool reaches(atomic_ulong *what, unsigned long value, pid_t pid)
{
	double deadline = gm_now() + SOON_MS / 1000;

	while (atomic_load(what) != value && gm_now() < deadline) {
		if (waitpid(pid, NULL, WNOHANG))
			return false;
		sched_yield();
	}
	return atomic_load(what) == value;
}

static void expect_nothing_late(struct __test_metadata *_metadata, FIXTURE_DATA(domain) *self,
				bool writes_late)
{
	unsigned long rounds = number("ROUNDS", 200), round;
	volatile unsigned long *word = (volatile unsigned long *)self->mem.va;
	struct guestmem_domain_unmap du;
	struct spin *spin;
	int status;
	pid_t pid;

	spin = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)spin);
	spin->writes_late = writes_late;
	pid = fork();
	if (!pid)
		spinner(spin, self->ses);
	for (round = 1; round <= rounds; round++) {
		word[0] = 2 * round;
		ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
		atomic_store(&spin->round, round);
		ASSERT_TRUE(reaches(&spin->reading, round, pid)) TH_LOG("round %lu", round);
		/* The client may have seen it, and released, before it returns. */
		ASSERT_LE(0, TAKE_BACK(self->dom, &du, .len = PG));
		EXPECT_NE(0, du.fault) TH_LOG("round %lu", round);
		/* From here on it is the owner's, as if the client were not there. */
		word[0] = 2 * round + 1;
		word[1] = 2 * round + 1;
		ASSERT_TRUE(reaches(&spin->done, round, pid)) TH_LOG("round %lu", round);
		EXPECT_EQ(2 * round + 1, word[1]) TH_LOG("written late, round %lu", round);
		EXPECT_EQ(0, atomic_load(&spin->late)) TH_LOG("read late, round %lu", round);
		EXPECT_EQ(0, info_of(self->dom).nfaults);
		if (_metadata->exit_code == KSFT_FAIL)
			break;
		++*gm_figure;
	}
	atomic_store(&spin->stop, true);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	forget_records(self->dom);
	munmap(spin, PG);
}

TEST_F(domain, reads_nothing_late)
{
	expect_nothing_late(_metadata, self, false);
}

TEST_F(domain, writes_nothing_late)
{
	expect_nothing_late(_metadata, self, true);
}

/* ---- owners ---- */

struct owner_result {
	unsigned long mapped, unmapped, faults;
	__u64 fault[4096];
};

/* Maps and takes back, in the way of the other one, and on until it has hit a client. */
static void own(int dom, unsigned long rounds, unsigned int seed, struct owner_result *result)
{
	double deadline = gm_now() + 300;
	struct guestmem_domain_unmap du;
	unsigned long i;
	int ret;

	for (i = 0; i < rounds || (!result->faults && gm_now() < deadline); i++) {
		__u64 iova = rand_r(&seed) % 4 * PG;

		result->mapped += !gm_map_iova(dom, iova, PG, FIRST + iova, RW);
		/* So that somebody finds it. */
		usleep(rand_r(&seed) % 2 * 300);
		ret = gm_domain_unmap(dom, &du, .iova = iova & ~(2 * PG - 1), .len = 2 * PG,
				      .deadline_ms = rand_r(&seed) % 3,
				      .timeout_ms = rand_r(&seed) % 3 ? FOREVER : 0);
		if (ret && ret != -ETIMEDOUT)
			_exit(1);
		result->unmapped += du.nmappings;
		if (du.fault)
			result->fault[result->faults++ % ARRAY_SIZE(result->fault)] = du.fault;
	}
}

static _Atomic int stop;

static void *export_and_release(void *arg)
{
	const int *ses = arg;
	unsigned int seed = *ses;
	unsigned char *p = gm_mmap(*ses, 0, 4 * PG, PROT_READ);

	while (!stop) {
		/* Of one mapping, or of two at once, which are rarely there together. */
		__u64 iova = rand_r(&seed) % 2 ? rand_r(&seed) % 4 * PG : rand_r(&seed) % (3 * PG);
		__u32 h;
		int ret = gm_export_iova(*ses, iova, PG, RW, &h);

		gm_peek(p + rand_r(&seed) % 4 * PG);
		if (ret == -ESTALE || rand_r(&seed) % 4 == 0)
			gm_release_all(*ses);
		else if (!ret)
			gm_release_handle(*ses, h);
		++*gm_figure;
	}
	munmap(p, 4 * PG);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Two processes with the same domain: what one has taken back the other has not. */
TEST_F(domain, two_owners)
{
	unsigned long rounds = number("ROUNDS", 200), i, n = 0;
	int ses[2] = { self->ses, gm_session(self->dom, ALL, NULL) }, status;
	struct owner_result *result;
	struct guestmem_domain_unmap du;
	static __u64 fault[2 * 4096];
	pthread_t threads[2];
	pid_t pid;

	ASSERT_LE(0, ses[1]);
	result = mmap(NULL, 2 * sizeof(*result), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)result);
	/* Forked before there are threads; by a descriptor of its own. */
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ses[0]);
		close(ses[1]);
		own(dup(self->dom), rounds, 1, &result[0]);
		_exit(0);
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, export_and_release, &ses[i]));
	own(self->dom, rounds, 2, &result[1]);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	stop = 1;
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_LE(0, gm_release_all(ses[i]));
	}
	EXPECT_TRUE(settles(self->dom, 0));
	EXPECT_EQ(0, TAKE_BACK(self->dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(0, du.fault);
	/* Each mapping was taken back once, and each fault is of one of them. */
	EXPECT_EQ(result[0].mapped + result[1].mapped,
		  result[0].unmapped + result[1].unmapped + du.nmappings);
	for (i = 0; i < 2; i++) {
		EXPECT_LT(0, result[i].faults);
	}
	for (i = 0; i < 2; i++) {
		unsigned long j, m = result[i].faults;

		for (j = 0; j < m && j < ARRAY_SIZE(result[i].fault); j++)
			fault[n++] = result[i].fault[j];
	}
	qsort(fault, n, sizeof(*fault), compare);
	for (i = 1; i < n; i++)
		EXPECT_NE(fault[i - 1], fault[i]);
	munmap(result, 2 * sizeof(*result));
	close(ses[1]);
}

static void *remove_and_add(void *arg)
{
	FIXTURE_DATA(domain) *self = arg;

	while (!stop) {
		if (gm_revoke(self->fd, self->id[0]) ||
		    gm_mem_add(self->fd, &self->mem, FIRST, 0, 16 * PG, 0, &self->id[0]))
			return (void *)1;
		usleep(500);
	}
	return NULL;
}

static void *limit_views(void *arg)
{
	const int *dom = arg;

	while (!stop) {
		struct guestmem_view_limit vl;

		gm_view_limit(*dom, &vl, .flags = GUESTMEM_VIEW_ALL, .rights = ~(__u32)WRITE);
		usleep(3000);
	}
	return NULL;
}

/* Regions that are revoked, rights that are taken, sessions that come and go, all at once. */
TEST_F(domain, everything_taken_away)
{
	unsigned long rounds = number("ROUNDS", 200), i;
	struct guestmem_domain_unmap du;
	pthread_t threads[3];
	void *result;

	stop = 0;
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, remove_and_add, self));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, limit_views, &self->dom));
	ASSERT_EQ(0, pthread_create(&threads[2], NULL, export_and_release, &self->ses));
	for (i = 0; i < rounds; i++) {
		int ses = gm_session(self->dom, ALL, NULL), ret;
		unsigned char *p = gm_mmap(ses, 0, 4 * PG, PROT_READ | PROT_WRITE);

		ASSERT_LE(0, ses);
		ret = gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW);
		EXPECT_TRUE(!ret || ret == -EEXIST) TH_LOG("%d", ret);
		ret = gm_export_iova(ses, 0, 4 * PG, RW, NULL);
		EXPECT_TRUE(!ret || ret == -ENXIO || ret == -EACCES) TH_LOG("%d", ret);
		/* The right to write may have gone before there was a mapping. */
		if (p != MAP_FAILED) {
			ret = gm_poke(p, gm_pattern(0));
			EXPECT_TRUE(!ret || ret == -SIGBUS) TH_LOG("%d", ret);
			munmap(p, 4 * PG);
		}
		if (i % 4 == 0)
			gm_domain_unmap(self->dom, &du, .len = 4 * PG, .deadline_ms = 1);
		close(ses);
		++*gm_figure;
	}
	stop = 1;
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], &result);
		EXPECT_EQ(NULL, result);
	}
	EXPECT_LE(0, gm_release_all(self->ses));
	EXPECT_TRUE(settles(self->dom, 0));
	EXPECT_EQ(0, info_of(self->dom).nexports);
}

/* ---- memory that is not in the guest ---- */

struct giver {
	int fd;
	unsigned char *va;
};

static void *give_up(void *arg)
{
	const struct giver *giver = arg;

	while (!stop) {
		if (madvise(giver->va, 4 * PG, MADV_DONTNEED))
			return (void *)1;
		giver->va[PG] = 1;
		usleep(200);
	}
	return NULL;
}

static void *ask(void *arg)
{
	const struct giver *giver = arg;

	while (!stop)
		info_of(giver->fd);
	return NULL;
}

static bool unpinned(long pinned)
{
	double deadline = gm_now() + SOON_MS / 1000;

	while (gm_vmpin() != pinned && gm_now() < deadline)
		usleep(1000);
	return gm_vmpin() == pinned;
}

/* It is given up, looked at and asked for while it is mapped, used and unmapped. */
TEST_F(domain, external_memory_given_up)
{
	unsigned long rounds = number("ROUNDS", 200), i;
	struct guestmem_domain_map dm;
	struct guestmem_mapping m;
	struct giver giver;
	pthread_t threads[2];
	struct gm_mem anon;
	__u32 handle;
	long pinned;
	void *result;

	ASSERT_EQ(0, gm_mem_alloc(&anon, GM_ANON, 4 * PG));
	giver = (struct giver) { .fd = self->fd, .va = anon.va };
	m = (struct guestmem_mapping)MAPPING(64 * PG, 4 * PG, (uintptr_t)anon.va, RW,
					     .backing = GUESTMEM_BACKING_USER);
	pinned = gm_vmpin();
	stop = 0;
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, give_up, &giver));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, ask, &giver));
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m,
					   .nmappings = 1));
		EXPECT_EQ(pinned + 4 * (long)PG, gm_vmpin());
		if (i % 2) {
			/* Without users it is unpinned when that returns. */
			EXPECT_EQ(0, gm_unmap_iova(self->dom, 64 * PG, 4 * PG));
			EXPECT_EQ(pinned, gm_vmpin()) TH_LOG("round %lu", i);
		} else {
			ASSERT_EQ(0, gm_export_iova(self->ses, 64 * PG, 4 * PG, RW, NULL));
			ASSERT_EQ(0, locks(self->ses, 64 * PG, 4 * PG,
					   GUESTMEM_DMA_FROM_DEVICE, &handle));
			EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 64 * PG, 4 * PG));
			EXPECT_EQ(1, gm_release_all(self->ses));
			EXPECT_EQ(pinned + 4 * (long)PG, gm_vmpin());
			EXPECT_EQ(0, gm_unlock_handle(self->ses, handle));
			EXPECT_TRUE(unpinned(pinned)) TH_LOG("round %lu", i);
		}
		++*gm_figure;
	}
	stop = 1;
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], &result);
		EXPECT_EQ(NULL, result);
	}
	gm_mem_free(&anon);
}

TEST_HARNESS_MAIN
