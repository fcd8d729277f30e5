/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * To be preloaded into a daemon: when has it taken a probe into its cache? A probe is a flow from 10.99.h.l to
 * 192.0.2.1. It is looked for in what the process receives, and its time, nanoseconds of CLOCK_MONOTONIC, goes
 * to the place h.l of the array in the file $PROBE_CLOCK when the thread comes back to receive or to wait: then it
 * has done what there was to do with what it received before.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROBES 65536
#define PENDING 4096

static int64_t *seen;
static __thread uint16_t pending[PENDING];
static __thread unsigned int pending_count;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("PROBE_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, PROBES * sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        seen = mapped;
    close(fd);
}

/* The attributes of a message are aligned to four bytes, and so are the messages of a datagram. */
static void look(const void *data, ssize_t size)
{
    uint32_t word, next;
    ssize_t at;

    for (at = 0; seen != NULL && at + 8 <= size; at += 4) {
        memcpy(&word, (const char *)data + at, 4);
        if ((word & htonl(0xffff0000)) != htonl(0x0a630000))
            continue;
        memcpy(&next, (const char *)data + at + 4, 4);
        if (next == htonl(0xc0000201) && seen[ntohl(word) & 0xffff] == 0 && pending_count < PENDING)
            pending[pending_count++] = ntohl(word) & 0xffff;
    }
}

static void done(void)
{
    struct timespec now;

    if (pending_count == 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    while (pending_count > 0)
        seen[pending[--pending_count]] = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CALL(name, ...)                          \
    static __typeof__(&name) real;               \
                                                 \
    if (real == NULL)                            \
        real = REAL(name);                       \
    done();                                      \
    __typeof__(real(__VA_ARGS__)) got = real(__VA_ARGS__)

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    CALL(recv, fd, data, size, flags);
    look(data, got);
    return got;
}

ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *restrict address, socklen_t *restrict length)
{
    CALL(recvfrom, fd, data, size, flags, address, length);
    look(data, got);
    return got;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
    CALL(recvmmsg, fd, messages, count, flags, timeout);
    for (int index = 0; index < got; index++)
        look(messages[index].msg_hdr.msg_iov[0].iov_base, messages[index].msg_len);
    return got;
}

int select(int count, fd_set *restrict in, fd_set *restrict out, fd_set *restrict other, struct timeval *restrict timeout)
{
    CALL(select, count, in, out, other, timeout);
    return got;
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    CALL(poll, fds, count, timeout);
    return got;
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    CALL(epoll_wait, fd, events, count, timeout);
    return got;
}
