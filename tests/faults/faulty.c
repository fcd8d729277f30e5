/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * To be preloaded: a system whose clock can be set without setting anybody else's, and whose network has no
 * room when the test says so. The file $FAULTY holds two numbers of 64 bits: the seconds by which
 * CLOCK_REALTIME is moved, and whether sendmmsg() on internet sockets fails with ENOBUFS (0 or 1).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults {
    int64_t clock_offset;
    int64_t no_room;
};

static const volatile struct faults none;
static const volatile struct faults *faults = &none;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTY");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, sizeof *faults, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        faults = mapped;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, clock, now);

    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += faults->clock_offset;
    return failed;
}

time_t time(time_t *into)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (into != NULL)
        *into = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    if (faults->no_room && getsockname(fd, (struct sockaddr *)&own, &size) == 0
        && (own.ss_family == AF_INET || own.ss_family == AF_INET6)) {
        errno = ENOBUFS;
        return -1;
    }
    return syscall(SYS_sendmmsg, fd, messages, count, flags);
}
