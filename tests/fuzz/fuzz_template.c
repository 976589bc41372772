/*
 * fuzz_template.c - any text as a template: it renders, or says why not, and comes to an end
 */
#include "formats/template/template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static const char context[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \" Hi \"}, {\"role\": "
    "\"assistant\","
    "\"content\": [{\"type\": \"text\", \"text\": \"Yo\"}], \"tool_calls\": "
    "[{\"function\":"
    "{\"name\": \"f\", \"arguments\": {\"a\": 1, \"B\": [true, null, 2.5]}}}]}],"
    "\"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"type\": "
    "\"object\"}}}],"
    "\"bos_token\": \"<bos>\", \"add_generation_prompt\": true, \"n\": 3}";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    json_t *variables = json_loads(context, 0, NULL);
    char *source = malloc(n_bytes + 1), *text = NULL;
    struct error err = {.text = ""};

    if (source && variables) {
        memcpy(source, bytes, n_bytes);
        source[n_bytes] = '\0';
        if (template_render(source, variables, &text, &err) != OK && err.text[0] == '\0')
            abort();
    }
    free(text);
    free(source);
    json_decref(variables);
    return 0;
}
