/* What the generator's main part and its two protocols share. */
#include <stddef.h>
#include <stdint.h>

struct conn {
    int fd;
    char *out; /* to be written; `written` bytes of it are */
    size_t length, capacity, written;
    char in[16384]; /* received and not yet parsed */
    size_t have;
    size_t skip;   /* bytes of an answer's body still to come */
    int step;      /* smtp: the step of the transaction */
    int replies;   /* smtp: replies still to come in this step */
    int busy;      /* it has a request */
    int refused;   /* the request, or a part of it */
    long unit;     /* the number of the request */
};

struct options {
    long first, count;   /* the e-mails' numbers */
    long batch;          /* e-mails of one request */
    long recipients;     /* of one e-mail */
    long size;           /* bytes of one e-mail's content */
    long domains;        /* http: recipients' domains under `zone`; 0: example.net is the only one */
    const char *zone;
    const char *path;    /* http: of the request */
    const char *auth;    /* http: the Authorization header's value, or NULL */
};
extern struct options options;

/* What a protocol does with a connection. */
struct protocol {
    void (*opened)(struct conn *);             /* it is connected */
    void (*send)(struct conn *, long from, long n); /* writes e-mails from..from+n-1 into c->out */
    void (*received)(struct conn *);           /* parses c->in; calls idle() or finished() */
};
extern const struct protocol http, smtp;

void idle(struct conn *);                  /* it is ready for its first request */
void finished(struct conn *);              /* its request is answered */
void append(struct conn *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void append_bytes(struct conn *, const char *bytes, size_t n);
void flush(struct conn *);
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
