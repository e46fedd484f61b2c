/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script is a function with two tables as case statements, by "words of the command" and by "words of the command, option":
 *
 *   _sluicectl_words "config show"            what may stand next: second words, options, choices of the next operand, or files
 *   _sluicectl_value "config show" --version  what may be the value of an option: words, ":file", or nothing to offer
 */
#include "cli/completion.h"

#include <string.h>

#include "cli/command.h"

static bool is_file(const char *name)
{
    return name && (strcmp(name, "FILE") == 0 || strcmp(name, "PATH") == 0);
}

static void print_option_names(FILE *out, const struct sl_cli_option *options)
{
    for (const struct sl_cli_option *o = options; o && o->name; o++) {
        fprintf(out, " --%s", o->name);
        if (o->letter)
            fprintf(out, " -%c", o->letter);
    }
}

static void print_groups(FILE *out)
{
    fputs("    '')\n        echo '", out);
    for (const struct sl_cli_group *g = sl_cli_groups; g->name; g++)
        fprintf(out, "%s%s", g == sl_cli_groups ? "" : " ", g->name);
    print_option_names(out, sl_cli_global_options);
    fputs("' ;;\n", out);
}

static void print_second_words(FILE *out, const struct sl_cli_group *g)
{
    size_t len = strlen(g->name);
    bool any = false;

    for (const struct sl_cli_command *c = sl_cli_commands; c->words; c++) {
        if (strncmp(c->words, g->name, len) != 0 || c->words[len] != ' ')
            continue;
        if (!any) {
            fprintf(out, "    '%s'", g->name);
            if (g->alias)
                fprintf(out, " | '%s'", g->alias);
            fputs(")\n        echo '", out);
        }
        fprintf(out, "%s%s", any ? " " : "", c->words + len + 1);
        any = true;
    }
    if (any) {
        print_option_names(out, sl_cli_global_options);
        fputs("' ;;\n", out);
    }
}

/* Every operand's choices come one after the other; what is typed already is known to bash by its number. */
static void print_command_words(FILE *out, const struct sl_cli_command *c)
{
    fprintf(out, "    '%s')\n        echo '", c->words);
    for (size_t i = 0; i < SL_CLI_OPTION_SETS_MAX; i++)
        print_option_names(out, c->options[i]);
    print_option_names(out, sl_cli_global_options);
    fputs("'\n        case $2 in\n", out);
    for (size_t i = 0; i < SL_CLI_OPERANDS_MAX && i < c->max_operands; i++) {
        if (c->operands[i].choices)
            fprintf(out, "        %zu) echo '%s' ;;\n", i, c->operands[i].choices);
        else if (is_file(c->operands[i].name))
            fprintf(out, "        %zu) echo ':file' ;;\n", i);
    }
    fputs("        esac ;;\n", out);
}

static void print_value_cases(FILE *out, const char *words, const char *outputs, const struct sl_cli_option *options)
{
    for (const struct sl_cli_option *o = options; o && o->name; o++) {
        if (!o->value)
            continue;
        fprintf(out, "    '%s --%s'", words, o->name);
        if (o->letter)
            fprintf(out, " | '%s -%c'", words, o->letter);
        bool form = strcmp(o->name, "output") == 0;
        fprintf(out, ") echo '%s' ;;\n",
                form                ? (outputs ? outputs : "")
                : o->choices        ? o->choices
                : is_file(o->value) ? ":file"
                                    : "");
    }
}

static const char functions[] = "# Whether an option takes a value: its line above says more than 'nothing known'.\n"
                                "_sluicectl_takes_value() { [ \"$(_sluicectl_value \"$1 $2\")\" != ':flag' ]; }\n"
                                "\n"
                                "_sluicectl() {\n"
                                "    local cur=${COMP_WORDS[COMP_CWORD]} command='' operands=0 i word skip='' words\n"
                                "    COMPREPLY=()\n"
                                "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                                "        word=${COMP_WORDS[i]}\n"
                                "        if [ -n \"$skip\" ]; then skip=''; continue; fi\n"
                                "        case $word in\n"
                                "        --*=*) ;;\n"
                                "        -*) _sluicectl_takes_value \"$command\" \"$word\" && skip=$word ;;\n"
                                "        *)\n"
                                "            if [ -n \"$(_sluicectl_words \"${command:+$command }$word\" 0)\" ]; then\n"
                                "                command=$(_sluicectl_name \"${command:+$command }$word\")\n"
                                "            else\n"
                                "                operands=$((operands + 1))\n"
                                "            fi ;;\n"
                                "        esac\n"
                                "    done\n"
                                "    if [ -n \"$skip\" ]; then\n"
                                "        words=$(_sluicectl_value \"$command $skip\")\n"
                                "    else\n"
                                "        words=$(_sluicectl_words \"$command\" \"$operands\")\n"
                                "        [[ $cur == -* ]] || words=$(printf '%s\\n' $words | grep -v '^-')\n"
                                "    fi\n"
                                "    case $words in\n"
                                "    *:file*) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
                                "    *) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
                                "    esac\n"
                                "}\n"
                                "complete -F _sluicectl sluicectl\n";

void sl_completion_bash(FILE *out)
{
    fputs("# SPDX-License-Identifier: Apache-2.0\n# bash completion of sluicectl; printed by 'sluicectl completion bash'.\n\n"
          "# What may follow the words of a command ($1), of which $2 operands are given.\n_sluicectl_words() {\n    case $1 in\n",
          out);
    print_groups(out);
    for (const struct sl_cli_group *g = sl_cli_groups; g->name; g++)
        print_second_words(out, g);
    for (const struct sl_cli_command *c = sl_cli_commands; c->words; c++)
        print_command_words(out, c);
    fputs("    esac\n}\n\n# The values of an option: words, ':file', nothing, or ':flag' if it takes none.\n_sluicectl_value() {\n "
          "   case $1 in\n",
          out);
    for (const struct sl_cli_command *c = sl_cli_commands; c->words; c++) {
        for (size_t i = 0; i < SL_CLI_OPTION_SETS_MAX; i++)
            print_value_cases(out, c->words, c->outputs, c->options[i]);
        fprintf(out, "    '%s --output' | '%s -o') echo '%s' ;;\n", c->words, c->words, c->outputs ? c->outputs : "");
    }
    for (const struct sl_cli_option *o = sl_cli_global_options; o->name; o++) {
        if (!o->value)
            continue;
        fprintf(out, "    *' --%s'", o->name);
        if (o->letter)
            fprintf(out, " | *' -%c'", o->letter);
        fprintf(out, ") echo '%s' ;;\n", o->choices ? o->choices : is_file(o->value) ? ":file" : "");
    }
    fputs("    *) echo ':flag' ;;\n    esac\n}\n\n# The first spelling of a command.\n_sluicectl_name() {\n    case $1 in\n", out);
    for (const struct sl_cli_group *g = sl_cli_groups; g->name; g++) {
        if (g->alias)
            fprintf(out, "    '%s') echo '%s' ;;\n", g->alias, g->name);
    }
    fputs("    *) echo \"$1\" ;;\n    esac\n}\n\n", out);
    fputs(functions, out);
}
