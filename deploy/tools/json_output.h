/* JSON on stdout, an object a line. */
#ifndef MANGROVE_DEPLOY_TOOLS_JSON_OUTPUT_H
#define MANGROVE_DEPLOY_TOOLS_JSON_OUTPUT_H

#include <jansson.h>

enum { JSON_FLOAT_DIGITS = 9, JSON_DOUBLE_DIGITS = 17 }; /* that give the number back to the last bit */

/* Takes the reference. Dies where stdout cannot be written. */
void json_output_line(json_t *json, int n_digits);

/* null for NULL and for what is not UTF-8: paths and names need not be. */
json_t *json_output_text(const char *text);
/* null for NULL alone; what is not UTF-8 as name_text.h spells it. */
json_t *json_output_spelled(const char *text);

#endif
