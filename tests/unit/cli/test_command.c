/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help.h"

enum { WORDS_MAX = 24 };

/* Splits at blanks; '_' in a word stands for a blank. */
static size_t split(const char *line, char store[static 512], const char *argv[static WORDS_MAX])
{
    size_t argc = 0;
    strcpy(store, line);
    for (char *save = NULL, *word = strtok_r(store, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        for (char *at = word; *at; at++)
            *at = *at == '_' ? ' ' : *at;
        assert_true(argc < WORDS_MAX);
        argv[argc++] = word;
    }
    return argc;
}

static void right(void **state)
{
    static const struct {
        const char *line, *words, *option, *value, *operand, *output;
    } table[] = {
        {"status", "status", NULL, NULL, NULL, "table"},
        {"-o json status", "status", "output", "json", NULL, "json"},
        {"status -ojson", "status", "output", "json", NULL, "json"},
        {"status --output=json", "status", "output", "json", NULL, "json"},
        {"--socket /x status", "status", "socket", "/x", NULL, "table"},
        {"status --socket=", "status", "socket", "", NULL, "table"},
        {"config --socket /x show --version 7", "config show", "version", "7", NULL, "yaml"},
        {"events list --limit 5", "event list", "limit", "5", NULL, "table"},
        {"event list -n5 --cause A --cause=B", "event list", "cause", "B", NULL, "table"},
        {"event list --type tls-abort", "event list", "type", "tls-abort", NULL, "table"},
        {"config import -", "config import", NULL, NULL, "-", NULL},
        {"config import -- --file", "config import", NULL, NULL, "--file", NULL},
        {"config commit -m two_words", "config commit", "message", "two words", NULL, "table"},
        {"rule add decrypt all --dst 10.0.0.0/8 --top", "rule add", "top", "", "decrypt", NULL},
        {"object add network n 1 2 3 4 5 6", "object add", NULL, NULL, "network", NULL},
        {"completion bash", "completion", NULL, NULL, "bash", NULL},
        {"version", "version", NULL, NULL, NULL, "text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *argv[WORDS_MAX];
        char store[512];
        struct sl_cli_args args;
        struct sl_diag diag = {{0}};
        size_t argc = split(table[i].line, store, argv);
        sl_err err = sl_cli_parse(argv, argc, &args, &diag);
        if (err)
            print_error("%s: %s\n", table[i].line, diag.text);
        assert_int_equal(err, SL_OK);
        assert_string_equal(args.command->words, table[i].words);
        if (table[i].option)
            assert_string_equal(sl_cli_value(&args, table[i].option), table[i].value);
        if (table[i].operand)
            assert_string_equal(args.operands[0], table[i].operand);
        else
            assert_int_equal(args.operand_count, 0);
        if (table[i].output)
            assert_string_equal(args.output, table[i].output);
        else
            assert_null(args.output);
    }
}

static void wrong(void **state)
{
    static const struct {
        const char *line, *text; /* a part of what is said */
    } table[] = {
        {"nonsense", "'nonsense' is not a command"},
        {"config", "'config' needs a second word; see 'sluicectl config --help'"},
        {"config nonsense", "'config nonsense' is not a command"},
        {"status now", "doesn't take so many words"},
        {"status --nonsense", "--nonsense: no such option here; see 'sluicectl status --help'"},
        {"--limit 5 event list", "stands behind its command"},
        {"status -x", "-x: no such option"},
        {"status -o", "-o needs a value"},
        {"status -o yaml", "one of table json is expected"},
        {"status -o nonsense", "one of table text json yaml is expected"},
        {"config import f -o json", "one form of output only"},
        {"status --help=now", "takes no value"},
        {"event list --limit 1 --limit 2", "given twice"},
        {"event list --type nonsense", "one of tls-abort"},
        {"event show", "'event show' needs ID"},
        {"rule add decrypt", "'rule add' needs NAME"},
        {"rule add nonsense x", "one of decrypt do-not-decrypt"},
        {"completion zsh", "one of bash"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *argv[WORDS_MAX];
        char store[512];
        struct sl_cli_args args;
        struct sl_diag diag = {{0}};
        size_t argc = split(table[i].line, store, argv);
        assert_int_equal(sl_cli_parse(argv, argc, &args, &diag), SL_ERR_INVALID);
        if (!strstr(diag.text, table[i].text))
            print_error("%s: %s\n", table[i].line, diag.text);
        assert_non_null(strstr(diag.text, table[i].text));
    }
}

static void help_is_asked_for(void **state)
{
    static const struct {
        const char *line, *words, *group;
    } table[] = {
        {"--help", NULL, NULL},
        {"config --help", NULL, "config"},
        {"config show -h", "config show", NULL},
        {"-h config show", "config show", NULL},
        {"rule add --help", "rule add", NULL}, /* its operands aren't missed */
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *argv[WORDS_MAX];
        char store[512];
        struct sl_cli_args args;
        size_t argc = split(table[i].line, store, argv);
        assert_int_equal(sl_cli_parse(argv, argc, &args, NULL), SL_OK);
        assert_true(args.help);
        if (table[i].words)
            assert_string_equal(args.command->words, table[i].words);
        else
            assert_null(args.command);
        if (table[i].group)
            assert_string_equal(args.group, table[i].group);
    }
}

static void too_many_words(void **state)
{
    static const char *argv[600];
    struct sl_cli_args args;
    (void)state;
    argv[0] = "rule";
    argv[1] = "remove";
    for (size_t i = 2; i < 600; i++)
        argv[i] = "x";
    assert_int_equal(sl_cli_parse(argv, 600, &args, NULL), SL_ERR_INVALID);
    for (size_t i = 2; i < 600; i++)
        argv[i] = i % 2 ? "1.2.3.4" : "--src";
    argv[1] = "add";
    assert_int_equal(sl_cli_parse(argv, 600, &args, NULL), SL_ERR_INVALID);
}

/* What the parser relies on. */
static void the_table_is_sound(void **state)
{
    (void)state;
    for (const struct sl_cli_command *c = sl_cli_commands; c->words; c++) {
        bool group = false;
        for (const struct sl_cli_group *g = sl_cli_groups; g->name; g++)
            group = group || strncmp(c->words, g->name, strlen(g->name)) == 0;
        assert_true(group);
        assert_non_null(c->run);
        assert_non_null(c->summary);
        assert_true(c->min_operands <= c->max_operands);
        for (size_t i = 0; i < c->min_operands && i < SL_CLI_OPERANDS_MAX; i++)
            assert_non_null(c->operands[i].name);
        for (const struct sl_cli_command *d = c + 1; d->words; d++)
            assert_string_not_equal(c->words, d->words);
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        sl_help_print(out, c, NULL);
        fclose(out);
        assert_non_null(strstr(text, c->words));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(right), cmocka_unit_test(wrong), cmocka_unit_test(help_is_asked_for),
                                       cmocka_unit_test(too_many_words), cmocka_unit_test(the_table_is_sound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
