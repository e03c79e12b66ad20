/* Generates load: load http|smtp --port P[,P…] --first F --count N [options]
 *
 * It prints one line of JSON. The e-mails have the numbers FIRST to FIRST + COUNT - 1; a number is
 * in the recipient: b<number>@example.net. One thread with epoll.
 *
 *   --connections C   kept open, one request at a time on each (default 20), spread over the ports
 *   --rate R          e-mails per second (default: as fast as answers come). An e-mail that finds
 *                     no free connection waits; its time counts from when it was due
 *   --batch B         http: e-mails of one request, as a JSON array (default: one, as an object)
 *   --recipients K    of each e-mail (default 1)
 *   --domains D       http: the recipients of e-mail N are at d<N % D>.<zone> (default: example.net)
 *   --zone NAME
 *   --size BYTES      of each e-mail (default 1024); http: above 4 KiB as an attachment
 *   --path PATH       http: default /emails
 *   --times FILE      two int64 per e-mail: when it was sent and when answered (nanoseconds of
 *                     CLOCK_MONOTONIC)
 *   --stall SECONDS   gives up if no answer comes for so long (default 30)
 *
 * The environment variable AUTH has the value of http's Authorization header. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct options options = {.batch = 1, .recipients = 1, .size = 1024, .path = "/emails"};

static const struct protocol *protocol;
static double rate;
static int64_t (*times)[2];
static int64_t start;
static long units, sent, answered, refused; /* requests; the last one in e-mails */
/* A ring: each connection has its turn, so no server closes one because it is idle. */
static struct conn **free_conns;
static int connections = 20, free_first, free_count, timer = -1, ep;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void give_up(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, rest);
    fprintf(stderr, " (%ld of %ld requests answered)\n", answered, units);
    exit(1);
}

static void reserve(struct conn *c, size_t n) {
    if (c->length + n <= c->capacity) return;
    c->capacity = 2 * (c->length + n);
    c->out = realloc(c->out, c->capacity);
    if (!c->out) give_up("out of memory");
}

void append_bytes(struct conn *c, const char *bytes, size_t n) {
    reserve(c, n);
    memcpy(c->out + c->length, bytes, n);
    c->length += n;
}

void append(struct conn *c, const char *format, ...) {
    char text[4096];
    va_list rest;
    va_start(rest, format);
    int n = vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    if (n < 0 || n >= (int)sizeof text) give_up("a line is too long");
    append_bytes(c, text, n);
}

static void await(struct conn *c, uint32_t what) {
    struct epoll_event e = {.events = what, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e)) give_up("epoll: %s", strerror(errno));
}

void flush(struct conn *c) {
    size_t before = c->written;
    ssize_t n = write(c->fd, c->out + c->written, c->length - c->written);
    if (n < 0 && errno != EAGAIN) give_up("write: %s", strerror(errno));
    if (n > 0) c->written += n;
    if (c->written < c->length) {
        await(c, EPOLLIN | EPOLLOUT);
    } else {
        c->length = c->written = 0;
        if (before) await(c, EPOLLIN);
    }
}

static long of_unit(long unit) { /* e-mails of this request: the last one may have fewer */
    long left = options.count - unit * options.batch;
    return left < options.batch ? left : options.batch;
}

static int64_t due(long unit) { return start + (int64_t)(unit * options.batch / rate * 1e9); }

static void mark(long unit, int which, int64_t time) {
    if (times)
        for (long i = 0; i < of_unit(unit); i++) times[unit * options.batch + i][which] = time;
}

/* Sends what is due on the connections that are free, and sets the timer for the next. */
static void go_on(void) {
    while (free_count && sent < units && (!rate || due(sent) <= now())) {
        struct conn *c = free_conns[free_first];
        free_first = (free_first + 1) % connections;
        free_count--;
        c->unit = sent++;
        c->busy = 1;
        c->refused = 0;
        mark(c->unit, 0, rate ? due(c->unit) : now());
        protocol->send(c, options.first + c->unit * options.batch, of_unit(c->unit));
        flush(c);
    }
    if (rate && free_count && sent < units) {
        int64_t at = due(sent);
        struct itimerspec when = {{0}, {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
    }
}

void idle(struct conn *c) { free_conns[(free_first + free_count++) % connections] = c; }

void finished(struct conn *c) {
    mark(c->unit, 1, now());
    if (c->refused) refused += of_unit(c->unit);
    c->busy = 0;
    answered++;
    idle(c);
}

static struct conn *open_connection(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct conn *c = calloc(1, sizeof *c);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (void *)&a, sizeof a)) give_up("port %d: %s", port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    protocol->opened(c);
    return c;
}

static void take(struct conn *c, uint32_t what) {
    if (what & EPOLLOUT) flush(c);
    if (!(what & ~(uint32_t)EPOLLOUT)) return;
    ssize_t n = read(c->fd, c->in + c->have, sizeof c->in - 1 - c->have);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (c->busy || sent < units) give_up("a connection was closed by the other side");
        close(c->fd);
        return;
    }
    c->have += n;
    c->in[c->have] = 0;
    protocol->received(c);
}

static void map_times(const char *file) {
    size_t length = options.count * sizeof *times;
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, length)) give_up("%s: %s", file, strerror(errno));
    times = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (times == MAP_FAILED) give_up("%s: %s", file, strerror(errno));
    close(fd);
}

int main(int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"port", 1, 0, 'p'}, {"first", 1, 0, 'f'}, {"count", 1, 0, 'n'}, {"connections", 1, 0, 'c'},
        {"rate", 1, 0, 'r'}, {"batch", 1, 0, 'b'}, {"recipients", 1, 0, 'k'}, {"size", 1, 0, 's'},
        {"path", 1, 0, 'u'}, {"times", 1, 0, 't'}, {"domains", 1, 0, 'd'}, {"zone", 1, 0, 'z'},
         {"stall", 1, 0, 'w'}, {0},
    };
    int ports[64], port_count = 0, stall = 30;
    const char *file = NULL;
    if (argc < 2 || (strcmp(argv[1], "http") && strcmp(argv[1], "smtp")))
        give_up("say http or smtp");
    protocol = strcmp(argv[1], "http") ? &smtp : &http;
    optind = 2;
    for (int o; (o = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) switch (o) {
        case 'p':
            for (char *p = strtok(optarg, ","); p && port_count < 64; p = strtok(NULL, ","))
                ports[port_count++] = atoi(p);
            break;
        case 'f': options.first = atol(optarg); break;
        case 'n': options.count = atol(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'b': options.batch = atol(optarg); break;
        case 'k': options.recipients = atol(optarg); break;
        case 's': options.size = atol(optarg); break;
        case 'u': options.path = optarg; break;
        case 't': file = optarg; break;
        case 'd': options.domains = atol(optarg); break;
        case 'z': options.zone = optarg; break;
        case 'w': stall = atoi(optarg); break;
        default: return 2;
    }
    options.auth = getenv("AUTH");
    if (!port_count || options.count < 1 || connections < 1 || options.batch < 1 ||
        options.recipients < 1 || rate < 0)
        give_up("--port, --count or another number is missing or too small");
    units = (options.count + options.batch - 1) / options.batch;
    if (connections > units) connections = units;
    if (file) map_times(file);
    ep = epoll_create1(EPOLL_CLOEXEC);
    free_conns = calloc(connections, sizeof *free_conns);
    if (rate) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
        epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e);
    }
    for (int i = 0; i < connections; i++) open_connection(ports[i % port_count]);
    start = now();
    go_on();
    int64_t moved = now();
    while (answered < units) {
        struct epoll_event events[256];
        long before = answered;
        int n = epoll_wait(ep, events, 256, 1000);
        for (int i = 0; i < n; i++) {
            uint64_t expirations;
            if (events[i].data.ptr) take(events[i].data.ptr, events[i].events);
            else if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
                give_up("timer: %s", strerror(errno));
        }
        go_on();
        if (answered > before || (rate && sent == answered)) moved = now();
        else if (now() - moved > stall * 1000000000LL) give_up("no answer for %d s", stall);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double cpu = u.ru_utime.tv_sec + u.ru_stime.tv_sec;
    cpu += (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    printf("{\"start\": %.9f, \"end\": %.9f, \"refused\": %ld, \"cpu\": %.6f}\n", start / 1e9,
           now() / 1e9, refused, cpu);
    return 0;
}
