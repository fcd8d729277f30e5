// SPDX-License-Identifier: GPL-2.0-or-later
// Loaded before a command that talks to ctnetlink: its receives get the datagrams of the file named by REPLAY_FILE
// (each behind its length as a 32-bit integer), in place of the kernel's. At their end, SIGINT ends an event listener.
// REPLAY_TIME is the time, in seconds and microseconds; REPLAY_LABELS the file of label names.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

static FILE *source;

static int of_netfilter(int socket)
{
	int domain = 0, protocol = 0;
	socklen_t size = sizeof(int);

	getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	size = sizeof(int);
	getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
	return domain == AF_NETLINK && protocol == NETLINK_NETFILTER;
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
	uint32_t length;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (!of_netfilter(socket)) {
		ssize_t (*next)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
		return next(socket, message, flags);
	}
	if (source == NULL)
		source = fopen(getenv("REPLAY_FILE"), "rb");
	if (fread(&length, sizeof(length), 1, source) != 1) {
		raise(SIGINT);
		errno = EINTR;
		return -1;
	}
	if (length > message->msg_iov[0].iov_len || fread(message->msg_iov[0].iov_base, 1, length, source) != length)
		abort();
	memcpy(message->msg_name, &kernel, sizeof(kernel));
	message->msg_namelen = sizeof(kernel);
	message->msg_flags = 0;
	return length;
}

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*next)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");
	const char *labels = getenv("REPLAY_LABELS");

	return next(labels && strcmp(path, "/etc/xtables/connlabel.conf") == 0 ? labels : path, mode);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	long seconds, microseconds;

	(void)zone;
	if (sscanf(getenv("REPLAY_TIME"), "%ld.%ld", &seconds, &microseconds) != 2)
		abort();
	now->tv_sec = seconds;
	now->tv_usec = microseconds;
	return 0;
}

time_t time(time_t *result)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}
