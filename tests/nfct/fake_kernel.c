/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * To be preloaded: a kernel of which the test says what it answers. What is sent to a netlink socket is
 * appended to the file $FAKE_REQUESTS, and each receive takes the next datagram from the file
 * $FAKE_ANSWERS, where each has its length of four bytes before it. Sequence and port of the messages in it
 * are made those that the program waits for. Without a datagram left, receiving fails with ENODATA.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint32_t sequence;
static FILE *answers;

static ssize_t take(const void *data, size_t length)
{
    FILE *requests = fopen(getenv("FAKE_REQUESTS"), "ab");
    uint32_t prefix = length;

    fwrite(&prefix, sizeof prefix, 1, requests);
    fwrite(data, 1, length, requests);
    fclose(requests);
    sequence = ((const struct nlmsghdr *)data)->nlmsg_seq;
    return length;
}

static ssize_t give(int fd, void *data, size_t space)
{
    struct sockaddr_nl own = { 0 };
    socklen_t size = sizeof own;
    uint32_t length;

    if (answers == NULL)
        answers = fopen(getenv("FAKE_ANSWERS"), "rb");
    if (fread(&length, sizeof length, 1, answers) != 1 || length > space) {
        errno = ENODATA;
        return -1;
    }
    length = fread(data, 1, length, answers);
    getsockname(fd, (struct sockaddr *)&own, &size);
    for (int left = length; left >= (int)sizeof(struct nlmsghdr);) {
        struct nlmsghdr *message = (struct nlmsghdr *)((char *)data + length - left);

        message->nlmsg_seq = sequence;
        message->nlmsg_pid = own.nl_pid;
        left -= NLMSG_ALIGN(message->nlmsg_len);
    }
    return length;
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
    return take(data, length);
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
    return take(data, length);
}

ssize_t recv(int fd, void *data, size_t space, int flags)
{
    return give(fd, data, space);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

    if (message->msg_name != NULL)
        memcpy(message->msg_name, &kernel, sizeof kernel);
    message->msg_namelen = sizeof kernel;
    message->msg_flags = 0;
    return give(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
}
