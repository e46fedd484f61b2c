/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside pki: the little of DER (X.690) that minting needs. Reading is by cursor. Writing goes from the end of a buffer to its
 * start, so that a length is known when its header is written: write the content, then wrap it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"

enum {
    SL_DER_SEQUENCE = 0x30,
    SL_DER_SAN_DNS = 0x82, /* [2] IA5String */
    SL_DER_SAN_IP = 0x87   /* [7] OCTET STRING */
};

/* One element with a definite length below 2^24 and a one-byte tag. content borrows the input. SL_ERR_SHORT, SL_ERR_CORRUPT:
 * nothing was read. */
sl_err sl_der_read(struct sl_cursor *c, uint8_t *tag, struct sl_cursor *content);

struct sl_der_writer {
    uint8_t *base;
    size_t at; /* what is written is base[at..cap) */
    size_t cap;
    bool failed; /* there was no room: later calls do nothing */
};

void sl_der_writer_init(struct sl_der_writer *w, uint8_t *base, size_t cap);
size_t sl_der_len(const struct sl_der_writer *w);
const uint8_t *sl_der_data(const struct sl_der_writer *w);
/* Puts bytes before what is there. */
void sl_der_put(struct sl_der_writer *w, const void *bytes, size_t len);
void sl_der_put_u8(struct sl_der_writer *w, uint8_t byte);
/* Puts the header of an element whose content was written since sl_der_len was len_before. */
void sl_der_wrap(struct sl_der_writer *w, uint8_t tag, size_t len_before);
