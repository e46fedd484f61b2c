/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/yaml_field.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* ---- enums ---- */

static const char *without_prefix(const char *name)
{
    static const char *const PREFIXES[] = {"FAIL_", "REVOCATION_", "CRYPTO_", "TRUST_"};
    for (size_t i = 0; i < sizeof(PREFIXES) / sizeof(PREFIXES[0]); i++)
        if (strncmp(name, PREFIXES[i], strlen(PREFIXES[i])) == 0)
            return name + strlen(PREFIXES[i]);
    return name;
}

void sl_yaml_enum_text(const char *value_name, char out[static SL_YAML_ENUM_MAX])
{
    size_t n = 0;
    for (const char *c = without_prefix(value_name); *c && n + 1 < SL_YAML_ENUM_MAX; c++)
        out[n++] = (char)(*c == '_' ? '-' : tolower((unsigned char)*c));
    out[n] = '\0';
}

static bool same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int x = *a == '-' ? '_' : toupper((unsigned char)*a), y = *b == '-' ? '_' : toupper((unsigned char)*b);
        if (x != y)
            return false;
    }
    return *a == *b;
}

const ProtobufCEnumValue *sl_yaml_enum_find(const ProtobufCEnumDescriptor *type, const char *text)
{
    for (unsigned i = 0; i < type->n_values; i++)
        if (same_word(type->values[i].name, text) || same_word(without_prefix(type->values[i].name), text))
            return &type->values[i];
    return NULL;
}

/* ---- times ---- */

bool sl_yaml_is_time(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_UINT64 && strcmp(field->name, "expires_ns") == 0;
}

/* Exactly `digits` decimal digits. */
static bool take_number(const char **at, unsigned digits, int *out)
{
    int value = 0;
    for (unsigned i = 0; i < digits; i++) {
        if ((*at)[i] < '0' || (*at)[i] > '9')
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += digits;
    *out = value;
    return true;
}

static bool take_char(const char **at, const char *any_of)
{
    if (!**at || !strchr(any_of, **at))
        return false;
    (*at)++;
    return true;
}

static bool take_fraction(const char **at, uint64_t *ns)
{
    uint64_t unit = SL_NS_PER_S / 10;
    const char *start = *at;
    for (*ns = 0; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
        *ns += unit * (uint64_t)(**at - '0');
    return *at > start;
}

/* "Z" or "+01:00": seconds east of UTC. */
static bool take_zone(const char **at, int *seconds)
{
    int hours = 0, minutes = 0;
    bool west = **at == '-';
    *seconds = 0;
    if (take_char(at, "Zz"))
        return true;
    if (!take_char(at, "+-") || !take_number(at, 2, &hours) || !take_char(at, ":") || !take_number(at, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

static bool date_ok(const struct tm *tm)
{
    static const int DAYS[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = tm->tm_year + 1900;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || year > 2553 || tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1 || tm->tm_mday > DAYS[tm->tm_mon])
        return false;
    return (tm->tm_mon != 1 || tm->tm_mday < 29 || leap) && tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60;
}

sl_err sl_yaml_time_parse(const char *text, uint64_t *out)
{
    struct tm tm = {0};
    uint64_t fraction = 0;
    int zone = 0;
    const char *at = text;

    if (!take_number(&at, 4, &tm.tm_year) || !take_char(&at, "-") || !take_number(&at, 2, &tm.tm_mon) || !take_char(&at, "-") ||
        !take_number(&at, 2, &tm.tm_mday))
        return SL_ERR_INVALID;
    if (*at && (!take_char(&at, "Tt ") || !take_number(&at, 2, &tm.tm_hour) || !take_char(&at, ":") ||
                !take_number(&at, 2, &tm.tm_min) || !take_char(&at, ":") || !take_number(&at, 2, &tm.tm_sec) ||
                (take_char(&at, ".") && !take_fraction(&at, &fraction)) || !take_zone(&at, &zone) || *at))
        return SL_ERR_INVALID;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (!date_ok(&tm))
        return SL_ERR_INVALID;
    int64_t seconds = (int64_t)timegm(&tm) - zone;
    if (seconds < 0)
        return SL_ERR_INVALID;
    *out = (uint64_t)seconds * SL_NS_PER_S + fraction;
    return SL_OK;
}

void sl_yaml_time_text(uint64_t ns, char out[static 31])
{
    sl_time_rfc3339(ns, out);
    size_t len = strlen(out) - 1; /* before the Z */
    if (!strchr(out, '.'))
        return;
    while (out[len - 1] == '0')
        len--;
    if (out[len - 1] == '.')
        len--;
    out[len] = 'Z';
    out[len + 1] = '\0';
}

/* ---- bytes ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

sl_err sl_yaml_base64_of(const char *text, char **out)
{
    static const char BEGIN[] = "-----BEGIN CERTIFICATE-----", END[] = "-----END CERTIFICATE-----";
    const char *at = skip_space(text);
    bool pem = strncmp(at, BEGIN, sizeof(BEGIN) - 1) == 0;
    size_t n = 0;
    char *base64 = malloc(strlen(text) + 1);

    if (!base64)
        return SL_ERR_NOMEM;
    if (pem)
        at += sizeof(BEGIN) - 1;
    for (; *at && *at != '-'; at++)
        if (isalnum((unsigned char)*at) || *at == '+' || *at == '/' || *at == '=')
            base64[n++] = *at;
        else if (!is_space(*at))
            break;
    base64[n] = '\0';
    if (pem && strncmp(at, END, sizeof(END) - 1) == 0)
        at = skip_space(at + sizeof(END) - 1);
    else if (pem)
        n = 1; /* no end */
    size_t padding = strspn(base64 + strcspn(base64, "="), "=");
    if (*at || n % 4 || padding > 2 || (padding && base64[n - padding] != '=')) {
        free(base64);
        return SL_ERR_INVALID;
    }
    *out = base64;
    return SL_OK;
}

sl_err sl_yaml_pem_of(const char *base64, char **out)
{
    size_t len = strlen(base64), n;
    char *pem = malloc(len + len / 64 + 80);

    if (!pem)
        return SL_ERR_NOMEM;
    n = (size_t)sprintf(pem, "-----BEGIN CERTIFICATE-----\n");
    for (size_t at = 0; at < len; at += 64)
        n += (size_t)sprintf(pem + n, "%.64s\n", base64 + at);
    sprintf(pem + n, "-----END CERTIFICATE-----\n");
    *out = pem;
    return SL_OK;
}
