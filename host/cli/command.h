/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table: the one place that knows which commands and options exist. Parsing, help and completion are derived from it.
 *
 *   sluicectl [GLOBAL OPTION]... WORD [WORD] [OPTION | OPERAND]...
 *
 * Options may stand anywhere after the program's name; "--" ends them. "--name=value", "--name value", "-xvalue", "-x value".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct sl_cli;
struct sl_cli_args;

enum { SL_CLI_ARGS_MAX = 256, SL_CLI_OK = 0, SL_CLI_FAILED = 1, SL_CLI_USAGE = 2 };

struct sl_cli_option {
    const char *name;    /* "since" */
    char letter;         /* 0: none */
    const char *value;   /* how help calls the value: "TIME"; NULL: a flag. "FILE" completes file names */
    const char *choices; /* NULL, or the words that are allowed, blanks between */
    bool repeatable;
    const char *help;
};

/* What an operand is: for help and completion. */
struct sl_cli_operand {
    const char *name;    /* "FILE"; completes file names */
    const char *choices; /* as for options */
};

enum { SL_CLI_OPERANDS_MAX = 3, SL_CLI_OPTION_SETS_MAX = 3 };

struct sl_cli_command {
    const char *words;                                   /* "config show" */
    struct sl_cli_operand operands[SL_CLI_OPERANDS_MAX]; /* the last one may be given again up to max_operands */
    size_t min_operands, max_operands;
    const char *outputs; /* forms of -o, the default first: "table json"; NULL: -o isn't taken */
    const struct sl_cli_option *options[SL_CLI_OPTION_SETS_MAX]; /* arrays that end with a name of NULL */
    const char *summary;                                         /* one line */
    const char *details;                                         /* NULL or more lines, each ended */
    int (*run)(struct sl_cli *cli);                              /* SL_CLI_OK, … */
};

/* Ends with words of NULL. A group's commands stand together. */
extern const struct sl_cli_command sl_cli_commands[];
extern const struct sl_cli_option sl_cli_global_options[];

/* First words: what each group is for, and other spellings that are taken ("events" for "event"). Ends with name NULL. */
struct sl_cli_group {
    const char *name, *alias, *summary;
};
extern const struct sl_cli_group sl_cli_groups[];

struct sl_cli_args {
    const struct sl_cli_command *command; /* NULL: help was asked for, of the words in group, or of all */
    const char *group;                    /* with command NULL: "config", or NULL */
    bool help;                            /* -h or --help */
    const char *output;                   /* the form of -o, the command's default if not given; NULL if the command has none */
    struct {
        const struct sl_cli_option *option;
        const char *value;
    } given[SL_CLI_ARGS_MAX];
    size_t given_count;
    const char *operands[SL_CLI_ARGS_MAX];
    size_t operand_count;
};

/* Strings are borrowed from argv (without the program's name) and the tables. SL_ERR_INVALID with a sentence that names the right
 * command. */
sl_err sl_cli_parse(const char *const *argv, size_t argc, struct sl_cli_args *out, struct sl_diag *diag);

/* The last value given for an option, or NULL. */
const char *sl_cli_value(const struct sl_cli_args *args, const char *name);
bool sl_cli_flag(const struct sl_cli_args *args, const char *name);
/* The values of a repeatable option: returns how many were written to out (at most max). */
size_t sl_cli_values(const struct sl_cli_args *args, const char *name, const char **out, size_t max);

/* Whether word is one of the blank-separated choices. */
bool sl_cli_is_choice(const char *choices, const char *word);
