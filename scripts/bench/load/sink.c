/* A mail server that counts: sink PORT [ADDRESS] (0: any free one; its first line is "port N").
 * Connections to its addresses 127.9.x.x are accepted and then get no byte, as from a black hole.
 *
 * It accepts every message, by DATA or by BDAT, and counts it by the number in its first recipient
 * (b<number>…@…). Its standard input takes lines:
 *
 *   expect FIRST COUNT [FILE]   starts to count the numbers FIRST to FIRST + COUNT - 1. FILE gets
 *                               COUNT times of arrival (int64, nanoseconds of CLOCK_MONOTONIC,
 *                               0: not yet); it may be read at any time
 *   count                       prints the counts as one line of JSON
 *
 * It ends with its input. One thread with epoll. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct conn {
    int fd, in_content, matched, length, recipients;
    long chunk; /* bytes of a BDAT that are still to come */
    long number;
    char line[1024];
};

static long first_number, expected; /* the numbers that count */
static int64_t *arrived;            /* time of each expected message */
static long messages, distinct, stray, recipients, open_now, opened, most_open;
static int64_t bytes, first_time, last_time;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void message(struct conn *c) {
    int64_t time = now();
    long i = c->number - first_number;
    messages++;
    recipients += c->recipients;
    if (i < 0 || i >= expected) {
        stray++;
        return;
    }
    if (!first_time) first_time = time;
    last_time = time;
    if (arrived[i]) return; /* a copy for another recipient, or a duplicate */
    arrived[i] = time;
    distinct++;
}

/* Answers one command; returns the reply. */
static const char *command(struct conn *c) {
    const char *l = c->line;
    if (!strncasecmp(l, "EHLO", 4))
        return "250-sink\r\n250-PIPELINING\r\n250-CHUNKING\r\n"
               "250-SIZE 104857600\r\n250 8BITMIME\r\n";
    if (!strncasecmp(l, "MAIL", 4)) {
        c->number = -1;
        c->recipients = 0;
    } else if (!strncasecmp(l, "RCPT TO:<", 9)) {
        if (!c->recipients++ && l[9] == 'b') c->number = atol(l + 10);
    } else if (!strncasecmp(l, "DATA", 4)) {
        c->in_content = 1;
        c->matched = 2; /* the line end of DATA itself counts */
        return "354 go ahead\r\n";
    } else if (!strncasecmp(l, "BDAT ", 5)) { /* always the whole message */
        c->chunk = atol(l + 5);
        return NULL;
    } else if (!strncasecmp(l, "QUIT", 4)) {
        c->in_content = -1;
        return "221 bye\r\n";
    }
    return "250 ok\r\n";
}

/* Reads and answers; returns 0 if the connection is to be closed. */
static int feed(struct conn *c) {
    static const char END[] = "\r\n.\r\n";
    static char in[1 << 16], out[1 << 20];
    ssize_t n = read(c->fd, in, sizeof in), o = 0;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return 0;
    bytes += n;
    for (ssize_t i = 0; i < n && c->in_content >= 0; i++) {
        const char *reply = NULL;
        if (c->chunk) {
            long part = n - i < c->chunk ? n - i : c->chunk;
            c->chunk -= part;
            i += part - 1;
            if (!c->chunk) {
                message(c);
                reply = "250 2.0.0 taken\r\n";
            }
        } else if (c->in_content) {
            if (c->matched == 0) { /* skip to the end of the line */
                char *end = memchr(in + i, '\r', n - i);
                if (!end) break;
                i = end - in;
            }
            c->matched = in[i] == END[c->matched] ? c->matched + 1 : in[i] == '\r';
            if (c->matched == 5) {
                c->in_content = c->length = 0;
                message(c);
                reply = "250 2.0.0 taken\r\n";
            }
        } else if (in[i] == '\n') {
            c->line[c->length] = 0;
            c->length = 0;
            reply = command(c);
        } else if (c->length < (int)sizeof c->line - 1) {
            c->line[c->length++] = in[i];
        }
        if (reply) o = stpcpy(out + o, reply) - out;
    }
    if (o && write(c->fd, out, o) != o) return 0;
    return c->in_content >= 0;
}

/* Whether a connection came to an address that swallows all. */
static int is_black_hole(int fd) {
    struct sockaddr_in to = {0};
    socklen_t length = sizeof to;
    return !getsockname(fd, (void *)&to, &length) && ntohl(to.sin_addr.s_addr) >> 16 == 0x7f09;
}

static void expect(const char *arguments) {
    char file[4096] = "";
    if (arrived) munmap(arrived, expected * sizeof *arrived);
    arrived = NULL;
    if (sscanf(arguments, "%ld %ld %4095[^\n]", &first_number, &expected, file) < 2) exit(2);
    if (expected < 1) exit(2);
    size_t size = expected * sizeof *arrived;
    int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (*file) {
        fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0 || ftruncate(fd, size)) {
            perror(file);
            exit(2);
        }
        flags = MAP_SHARED;
    }
    arrived = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (arrived == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    if (fd >= 0) close(fd);
    messages = distinct = stray = recipients = 0;
    bytes = first_time = last_time = opened = 0;
    most_open = open_now;
}

/* Obeys lines of the standard input; returns 0 at its end. */
static int obey(void) {
    static char in[8192];
    static size_t length;
    ssize_t n = read(0, in + length, sizeof in - 1 - length);
    if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
    length += n;
    for (char *end; (end = memchr(in, '\n', length));) {
        *end = 0;
        if (!strncmp(in, "expect ", 7)) {
            expect(in + 7);
            printf("{\"expected\": %ld}\n", expected);
        } else {
            printf("{\"expected\": %ld, \"distinct\": %ld, ", expected, distinct);
            printf("\"messages\": %ld, \"stray\": %ld, ", messages, stray);
            printf("\"recipients\": %ld, \"bytes\": %lld, ", recipients, (long long)bytes);
            printf("\"first\": %.9f, \"last\": %.9f, ", first_time / 1e9, last_time / 1e9);
            printf("\"opened\": %ld, \"most_open\": %ld, ", opened, most_open);
            printf("\"now\": %.9f}\n", now() / 1e9);
        }
        length -= end + 1 - in;
        memmove(in, end + 1, length);
    }
    return 1;
}

int main(int argc, char **argv) {
    int one = 1, ep = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
    a.sin_addr.s_addr = argc > 2 ? inet_addr(argv[2]) : htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof a;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&a, sizeof a) || listen(listener, 4096) ||
        getsockname(listener, (void *)&a, &length)) {
        perror("sink");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("port %d\n", ntohs(a.sin_port));
    struct conn accepting = {.fd = listener}, input = {.fd = 0};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &accepting}, events[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &input;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, 0, &e)) {
        fprintf(stderr, "sink: the standard input must be a pipe\n");
        return 1;
    }
    for (;;) {
        int k = epoll_wait(ep, events, 256, -1);
        for (int i = 0; i < k; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == &input) {
                if (!obey()) return 0;
            } else if (c == &accepting) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    c = calloc(1, sizeof *c);
                    c->fd = fd;
                    e.events = EPOLLIN;
                    e.data.ptr = c;
                    if (!is_black_hole(fd) && write(fd, "220 sink ESMTP\r\n", 16) < 0) {
                    }
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                    opened++;
                    if (++open_now > most_open) most_open = open_now;
                }
            } else if (!feed(c)) {
                close(c->fd);
                free(c);
                open_now--;
            }
        }
    }
}
