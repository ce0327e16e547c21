/* The options table: one row per key gives name, type, default, range and sentence. It drives the YAML reader, --set,
 * the environment, `mangrove config`, --help and configs/reference.yaml.
 *
 * Precedence: defaults < file < environment (MANGROVE_TRAIN_SEED for train.seed) < --set. An unknown key, a wrong type
 * or a value out of range is ERR_CONFIG with file:line (or "--set", or the variable), what was found, what is allowed
 * and the nearest name. Of a variable of the environment that is empty nothing is taken; one whose name begins like a
 * section's (MANGROVE_TRAIN_...) but is no key's is an error, any other MANGROVE_* is not ours to judge. */
#ifndef MANGROVE_COMMON_OPTIONS_H
#define MANGROVE_COMMON_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/config.h"
#include "common/err.h"

void config_defaults(Config *c);

/* Everything together: path may be NULL (defaults), sets are "a.b=c" (one without = is ERR_USAGE). The environment is
 * read. out is undefined on error. */
Err config_load(Config *out, const char *path, const char *const *sets, int n_sets) MUST_CHECK;

/* The same upon base instead of a file. */
Err config_load_upon(Config *out, const Config *base, const char *const *sets, int n_sets) MUST_CHECK;
/* May a run that was begun with `before` be resumed with `now`? ERR_CONFIG names the first key that keeps it from it.
 */
Err config_check_resume(const Config *before, const Config *now) MUST_CHECK;

/* A YAML text over what c holds, which is left as it was on error; source names it in messages. The environment is not
 * read. */
Err config_parse(Config *c, const char *text, size_t size, const char *source) MUST_CHECK;

/* ERR_CONFIG where the path may not stand in a configuration: it is not printable UTF-8. The sentence begins with what
 * it is. */
Err config_check_path(const char *what, const char *path) MUST_CHECK;

/* Canonical YAML of every key, in table order; the same configuration gives the same bytes. Caller frees. */
char *config_text(const Config *c);
/* The same as one JSON object of sections, without a line break. Caller frees. */
char *config_json(const Config *c);
/* XXH3 of the canonical text without the keys that do not change results (run.dir, data.dir, cluster.*). */
uint64_t config_fingerprint(const Config *c);

/* The reference file: every key with its default, range and sentence as comments. */
void config_write_reference(FILE *out);
/* The keys for --help: one line each with type and default, and the sentence below it. */
void config_write_help(FILE *out);

#endif
