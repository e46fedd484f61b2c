/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool sl_cli_is_choice(const char *choices, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, word, n) == 0)
            return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

static bool first_word_is(const char *words, const char *word)
{
    size_t len = strlen(word);
    return strncmp(words, word, len) == 0 && (words[len] == ' ' || words[len] == '\0');
}

static const char *group_name(const char *word)
{
    for (const struct sl_cli_group *g = sl_cli_groups; g->name; g++) {
        if (strcmp(g->name, word) == 0 || (g->alias && strcmp(g->alias, word) == 0))
            return g->name;
    }
    return NULL;
}

/* The command of one or two words; *used says how many. */
static const struct sl_cli_command *find_command(const char *first, const char *second, size_t *used)
{
    for (const struct sl_cli_command *c = sl_cli_commands; c->words; c++) {
        if (!first_word_is(c->words, first))
            continue;
        const char *blank = strchr(c->words, ' ');
        if (!blank || (second && strcmp(blank + 1, second) == 0)) {
            *used = blank ? 2 : 1;
            return c;
        }
    }
    return NULL;
}

/* An option that the command takes, by name or by letter. command may be NULL: global ones only. */
static const struct sl_cli_option *find_option(const struct sl_cli_command *command, const char *name, size_t len, char letter)
{
    const struct sl_cli_option *sets[SL_CLI_OPTION_SETS_MAX + 1] = {sl_cli_global_options};
    for (size_t i = 0; command && i < SL_CLI_OPTION_SETS_MAX; i++)
        sets[i + 1] = command->options[i];
    for (size_t i = 0; i <= SL_CLI_OPTION_SETS_MAX; i++) {
        for (const struct sl_cli_option *o = sets[i]; o && o->name; o++) {
            if (name ? strlen(o->name) == len && memcmp(o->name, name, len) == 0 : o->letter && o->letter == letter)
                return o;
        }
    }
    return NULL;
}

struct parser {
    const char *const *argv;
    size_t argc, at;
    struct sl_cli_args *args;
    struct sl_diag *diag;
};

/* How an operator gets the help that goes with what was understood so far. */
__attribute__((format(printf, 2, 3))) static sl_err usage(struct parser *p, const char *format, ...)
{
    const struct sl_cli_command *c = p->args->command;
    const char *words = c ? c->words : p->args->group ? p->args->group : "";
    char text[384];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return sl_fail(p->diag, SL_ERR_INVALID, "%s; see 'sluicectl %s%s--help'", text, words, *words ? " " : "");
}

static sl_err add_option(struct parser *p, const struct sl_cli_option *o, const char *shown, const char *value)
{
    struct sl_cli_args *args = p->args;

    if (o->value && !value) {
        if (p->at >= p->argc)
            return usage(p, "%s needs a value: %s", shown, o->value);
        value = p->argv[p->at++];
    } else if (!o->value && value) {
        return usage(p, "%s takes no value", shown);
    }
    if (o->choices && value && !sl_cli_is_choice(o->choices, value))
        return usage(p, "%s: one of %s is expected", shown, o->choices);
    if (!o->repeatable && sl_cli_value(args, o->name))
        return usage(p, "%s is given twice", shown);
    if (args->given_count == SL_CLI_ARGS_MAX)
        return usage(p, "too many options");
    args->given[args->given_count].option = o;
    args->given[args->given_count++].value = value ? value : "";
    if (strcmp(o->name, "help") == 0)
        args->help = true;
    return SL_OK;
}

static sl_err parse_option(struct parser *p, const char *word)
{
    const struct sl_cli_command *c = p->args->command;

    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        const struct sl_cli_option *o = find_option(c, word + 2, len, 0);
        if (!o)
            return usage(p, c ? "%s: no such option here" : "%s: no such option, or one that stands behind its command", word);
        return add_option(p, o, word, word[2 + len] == '=' ? word + 2 + len + 1 : NULL);
    }
    for (const char *at = word + 1; *at; at++) {
        const struct sl_cli_option *o = find_option(c, NULL, 0, *at);
        char shown[3] = {'-', *at, '\0'};
        if (!o)
            return usage(p, "%s: no such option here", shown);
        const char *rest = o->value && at[1] ? at + 1 : NULL;
        sl_err err = add_option(p, o, shown, rest);
        if (err || o->value)
            return err;
    }
    return SL_OK;
}

static sl_err take_operand(struct parser *p, const char *word)
{
    struct sl_cli_args *args = p->args;
    const struct sl_cli_command *c = args->command;

    if (args->operand_count >= c->max_operands || args->operand_count == SL_CLI_ARGS_MAX)
        return usage(p, "%s: '%s' doesn't take so many words", word, c->words);
    size_t index = args->operand_count < SL_CLI_OPERANDS_MAX ? args->operand_count : SL_CLI_OPERANDS_MAX - 1;
    const char *choices = c->operands[index].choices;
    if (choices && !sl_cli_is_choice(choices, word))
        return usage(p, "'%s': one of %s is expected", word, choices);
    args->operands[args->operand_count++] = word;
    return SL_OK;
}

/* The words of the command itself; options may stand between. */
static sl_err parse_words(struct parser *p)
{
    const char *words[2] = {NULL, NULL};
    size_t count = 0, used = 0;

    while (p->at < p->argc && count < 2) {
        const char *word = p->argv[p->at++];
        if (word[0] == '-' && word[1]) {
            sl_err err = parse_option(p, word);
            if (err)
                return err;
            continue;
        }
        const char *name = count == 0 ? group_name(word) : word;
        if (!name)
            return usage(p, "'%s' is not a command", word);
        words[count++] = name;
        p->args->command = find_command(words[0], words[1], &used);
        if (p->args->command)
            return SL_OK;
    }
    p->args->group = words[0];
    if (p->args->help || count == 0)
        return SL_OK;
    return count == 1 ? usage(p, "'%s' needs a second word", words[0]) : usage(p, "'%s %s' is not a command", words[0], words[1]);
}

static sl_err check_output(struct parser *p)
{
    struct sl_cli_args *args = p->args;
    const char *outputs = args->command->outputs, *given = sl_cli_value(args, "output");
    static const char *const forms[] = {"table", "text", "json", "yaml", NULL};

    if (given && !outputs)
        return usage(p, "-o %s: '%s' has one form of output only", given, args->command->words);
    if (given && !sl_cli_is_choice(outputs, given))
        return usage(p, "-o %s: one of %s is expected", given, outputs);
    for (size_t i = 0; outputs && forms[i]; i++) {
        if (given ? strcmp(given, forms[i]) == 0 : strncmp(outputs, forms[i], strcspn(outputs, " ")) == 0)
            args->output = forms[i];
    }
    return SL_OK;
}

sl_err sl_cli_parse(const char *const *argv, size_t argc, struct sl_cli_args *out, struct sl_diag *diag)
{
    struct sl_diag own = {{0}};
    struct parser p = {.argv = argv, .argc = argc, .args = out, .diag = diag ? diag : &own};

    memset(out, 0, sizeof *out);
    sl_err err = parse_words(&p);
    if (err || !out->command)
        return err;
    for (bool options = true; p.at < argc;) {
        const char *word = argv[p.at++];
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && word[0] == '-' && word[1])
            err = parse_option(&p, word);
        else
            err = take_operand(&p, word);
        if (err)
            return err;
    }
    if (out->help)
        return SL_OK;
    if (out->operand_count < out->command->min_operands) {
        size_t index = out->operand_count < SL_CLI_OPERANDS_MAX ? out->operand_count : SL_CLI_OPERANDS_MAX - 1;
        return usage(&p, "'%s' needs %s", out->command->words, out->command->operands[index].name);
    }
    return check_output(&p);
}

const char *sl_cli_value(const struct sl_cli_args *args, const char *name)
{
    for (size_t i = args->given_count; i > 0; i--) {
        if (strcmp(args->given[i - 1].option->name, name) == 0)
            return args->given[i - 1].value;
    }
    return NULL;
}

bool sl_cli_flag(const struct sl_cli_args *args, const char *name)
{
    return sl_cli_value(args, name) != NULL;
}

size_t sl_cli_values(const struct sl_cli_args *args, const char *name, const char **out, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < args->given_count && count < max; i++) {
        if (strcmp(args->given[i].option->name, name) == 0)
            out[count++] = args->given[i].value;
    }
    return count;
}
