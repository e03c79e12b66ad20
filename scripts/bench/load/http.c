/* POSTs e-mails as JSON over connections that are kept alive. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const long TEXT = 4096; /* larger e-mails are a text of 1 KiB and an attachment */
static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void email(struct conn *c, long number) {
    static const char LINE[] =
        "The quick brown fox jumps over the lazy dog, and then it does so once more.\\n";
    long text = options.size <= TEXT ? options.size : 1024;
    char domain[256] = "example.net";
    if (options.domains)
        snprintf(domain, sizeof domain, "d%ld.%s", number % options.domains, options.zone);
    append(c, "{\"sender\":\"sender@example.com\",\"to\":[\"b%ld@%s\"", number, domain);
    for (long k = 1; k < options.recipients; k++)
        append(c, ",\"b%ld.%ld@%s\"", number, k, domain);
    append(c, "],\"subject\":\"message %ld\",\"body\":\"", number);
    for (; text > 0; text -= sizeof LINE - 2) append_bytes(c, LINE, sizeof LINE - 1);
    append(c, "\"");
    /* base64 makes four characters of three bytes, and a line's end every 76 characters */
    if (options.size > TEXT) {
        static char *content;
        long length = (options.size - 1024) / 78 * 76;
        if (!content) {
            content = malloc(length);
            for (long i = 0; i < length; i++) content[i] = BASE64[i * 7 % 64];
        }
        append(c, ",\"attachments\":[{\"filename\":\"file.bin\",\"content\":\"");
        append_bytes(c, content, length);
        append(c, "\"}]");
    }
    append(c, "}");
}

static void send_request(struct conn *c, long from, long n) {
    static const size_t LENGTH = 12; /* digits reserved for the body's length */
    append(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", options.path);
    append(c, "Content-Type: application/json\r\n");
    if (options.auth) append(c, "Authorization: %s\r\n", options.auth);
    append(c, "Content-Length: ");
    size_t at = c->length;
    append(c, "%*s\r\n\r\n", (int)LENGTH, "");
    size_t body = c->length;
    if (options.batch > 1) append(c, "[");
    for (long i = 0; i < n; i++) {
        if (i) append(c, ",");
        email(c, from + i);
    }
    if (options.batch > 1) append(c, "]");
    char digits[32];
    snprintf(digits, sizeof digits, "%0*zu", (int)LENGTH, c->length - body);
    memcpy(c->out + at, digits, LENGTH);
}

static void received(struct conn *c) {
    if (!c->skip) {
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) {
            if (c->have == sizeof c->in - 1) give_up("an answer's headers are too long");
            return;
        }
        char *length = strcasestr(c->in, "\r\ncontent-length:");
        if (!length || length > end) give_up("an answer has no Content-Length");
        /* 207: a part of a batch was refused */
        if ((c->in[9] != '2' || !strncmp(c->in + 9, "207", 3)) && !c->refused) {
            static int printed;
            c->refused = 1;
            if (!printed++) fprintf(stderr, "load: refused: %.1000s\n", c->in);
        }
        c->skip = end + 4 - c->in + atol(length + 17);
    }
    size_t taken = c->have < c->skip ? c->have : c->skip;
    c->skip -= taken;
    c->have = 0;
    if (!c->skip) finished(c);
}

static void opened(struct conn *c) { idle(c); }

const struct protocol http = {.opened = opened, .send = send_request, .received = received};
