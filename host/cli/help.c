/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <string.h>

enum { INDENT = 2, COLUMN = 34, LINE = 110 };

/* text behind head, in a column of its own, wrapped. */
static void print_entry(FILE *out, const char *head, const char *text)
{
    int used = fprintf(out, "%*s%s", INDENT, "", head);
    if (used >= COLUMN - 1) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", COLUMN - used, "");
    for (size_t column = COLUMN; *text;) {
        size_t word = strcspn(text, " ");
        if (column > COLUMN && column + 1 + word > LINE) {
            fprintf(out, "\n%*s", COLUMN, "");
            column = COLUMN;
        } else if (column > COLUMN) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)word, text);
        column += word;
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}

static void print_options(FILE *out, const struct sl_cli_option *options)
{
    for (const struct sl_cli_option *o = options; o && o->name; o++) {
        char head[96], letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(head, sizeof head, "%s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
        print_entry(out, head, o->help);
    }
}

static void print_operands(FILE *out, const struct sl_cli_command *c)
{
    for (size_t i = 0; i < SL_CLI_OPERANDS_MAX && i < c->max_operands && c->operands[i].name; i++) {
        bool last = i + 1 == SL_CLI_OPERANDS_MAX || !c->operands[i + 1].name;
        bool optional = i >= c->min_operands;
        fprintf(out, " %s%s%s%s", optional ? "[" : "", c->operands[i].name, optional ? "]" : "",
                last && c->max_operands > i + 1 ? "…" : "");
    }
}

static void print_command(FILE *out, const struct sl_cli_command *c)
{
    bool options = false;

    fprintf(out, "usage: sluicectl %s", c->words);
    print_operands(out, c);
    for (size_t i = 0; i < SL_CLI_OPTION_SETS_MAX; i++)
        options = options || c->options[i];
    fprintf(out, "%s\n\n%s.\n", options ? " [OPTION]…" : "", c->summary);
    if (c->details)
        fprintf(out, "\n%s", c->details);
    for (size_t i = 0; i < SL_CLI_OPERANDS_MAX; i++) {
        if (c->operands[i].choices)
            fprintf(out, "\n%s is one of: %s\n", c->operands[i].name, c->operands[i].choices);
    }
    if (options)
        fputs("\nOptions:\n", out);
    for (size_t i = 0; i < SL_CLI_OPTION_SETS_MAX; i++)
        print_options(out, c->options[i]);
    if (c->outputs) {
        fprintf(out, "\nOutput (-o): %s; the first is the default.\n", c->outputs);
    }
    fputs("\nsluicectl --help shows the options of every command.\n", out);
}

static void print_summaries(FILE *out, const char *group)
{
    size_t len = strlen(group);
    for (const struct sl_cli_command *c = sl_cli_commands; c->words; c++) {
        if (strncmp(c->words, group, len) == 0 && (c->words[len] == ' ' || c->words[len] == '\0'))
            print_entry(out, c->words, c->summary);
    }
}

void sl_help_print(FILE *out, const struct sl_cli_command *command, const char *group)
{
    if (command) {
        print_command(out, command);
        return;
    }
    if (group) {
        fprintf(out, "usage: sluicectl %s COMMAND [OPTION]…\n\n", group);
        print_summaries(out, group);
        fprintf(out, "\n'sluicectl %s COMMAND --help' tells more.\n", group);
        return;
    }
    fputs("usage: sluicectl [OPTION]… COMMAND [OPTION]…\n\nManages the TLS inspection gateway sluiced.\n", out);
    for (const struct sl_cli_group *g = sl_cli_groups; g->name; g++) {
        fprintf(out, "\n%s\n", g->summary);
        print_summaries(out, g->name);
    }
    fputs("\nOptions of every command\n", out);
    print_options(out, sl_cli_global_options);
    fputs("\nExit status: 0 done, 1 failed, 2 wrong usage. 'sluicectl COMMAND --help' tells more about a command.\n", out);
}
