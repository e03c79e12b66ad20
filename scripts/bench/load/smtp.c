/* Sends e-mails by SMTP, each in one transaction, its commands pipelined. */
#include "load.h"

#include <stdio.h>
#include <string.h>

enum { GREETING, EHLO, READY, ENVELOPE, CONTENT };

static void step(struct conn *c, int which, int replies) {
    c->step = which;
    c->replies = replies;
}

static void opened(struct conn *c) { step(c, GREETING, 1); }

static void envelope(struct conn *c, long from, long n) {
    (void)n; /* one e-mail a request: main() leaves the batch at 1 */
    append(c, "MAIL FROM:<sender@example.com>\r\nRCPT TO:<b%ld@example.net>\r\n", from);
    for (long k = 1; k < options.recipients; k++)
        append(c, "RCPT TO:<b%ld.%ld@example.net>\r\n", from, k);
    append(c, "DATA\r\n");
    step(c, ENVELOPE, 2 + options.recipients);
}

static void content(struct conn *c) {
    static const char LINE[] =
        "The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n";
    long number = options.first + c->unit;
    append(c, "From: <sender@example.com>\r\nTo: <b%ld@example.net>\r\n", number);
    append(c, "Subject: message %ld\r\n", number);
    append(c, "Message-ID: <%ld@bench.example.com>\r\n\r\n", number);
    for (long left = options.size; left > 0; left -= sizeof LINE - 1)
        append_bytes(c, LINE, sizeof LINE - 1);
    append(c, ".\r\n");
    step(c, CONTENT, 1);
    flush(c);
}

static void completed(struct conn *c) { /* all replies of this step are here */
    switch (c->step) {
        case GREETING:
            append(c, "EHLO bench.example.com\r\n");
            step(c, EHLO, 1);
            flush(c);
            break;
        case EHLO:
            step(c, READY, 0);
            idle(c);
            break;
        case ENVELOPE:
            content(c);
            break;
        case CONTENT:
            step(c, READY, 0);
            finished(c);
            break;
    }
}

static void received(struct conn *c) {
    char *line = c->in, *end;
    while ((end = strstr(line, "\r\n"))) {
        if (line[0] != '2' && line[0] != '3') give_up("refused: %.*s", (int)(end - line), line);
        int last = line[3] != '-';
        line = end + 2;
        if (last && --c->replies == 0) completed(c);
    }
    c->have -= line - c->in;
    memmove(c->in, line, c->have);
}

const struct protocol smtp = {.opened = opened, .send = envelope, .received = received};
