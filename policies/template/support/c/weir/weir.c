#include "weir.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SERIES 64
#define MOST_NUMBERS 32
#define MOST_SENTENCE 1024

/* The bindings ask for an object file with the interface; `weir policy build` puts it into the component. */
void __component_type_object_force_link_scaling_policy(void);
void __component_type_object_force_link_scaling_policy(void) {}

static bool is(scaling_policy_string_t text, const char *other) {
  return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

void weir_describe(weir_description *about, const char *name, const char *version, const char *summary) {
  scaling_policy_string_dup(&about->name, name);
  scaling_policy_string_dup(&about->version, version);
  scaling_policy_string_dup(&about->summary, summary);
  scaling_policy_string_dup(&about->params_schema, "");
  about->series.ptr = calloc(MOST_SERIES, sizeof *about->series.ptr);
  about->series.len = 0;
  about->state.is_some = false;
}

void weir_params_schema(weir_description *about, const char *schema) { scaling_policy_string_dup(&about->params_schema, schema); }

void weir_series(weir_description *about, const char *name, bool required) {
  if (about->series.ptr == NULL || about->series.len == MOST_SERIES) return;
  exports_weir_policy_describe_series_need_t *need = &about->series.ptr[about->series.len++];
  scaling_policy_string_dup(&need->name, name);
  need->required = required;
}

void weir_state_version(weir_description *about, uint32_t version, const uint32_t *reads, size_t count) {
  about->state.is_some = true;
  about->state.val.version = version;
  about->state.val.reads.ptr = count == 0 ? NULL : calloc(count, sizeof *reads);
  about->state.val.reads.len = about->state.val.reads.ptr == NULL ? 0 : count;
  for (size_t at = 0; at < about->state.val.reads.len; at++) about->state.val.reads.ptr[at] = reads[at];
}

/* Params are a JSON object that fits the policy's schema, so what is looked for here is a key of the
 * outermost object and the number behind it. */
double weir_number_param(const weir_input *input, const char *name, double otherwise) {
  size_t length = input->params.len, wanted = strlen(name);
  char *json = malloc(length + 1);
  if (json == NULL) return otherwise;
  memcpy(json, input->params.ptr, length);
  json[length] = '\0';
  int depth = 0;
  for (size_t at = 0; at < length; at++) {
    if (json[at] == '{' || json[at] == '[') depth++;
    if (json[at] == '}' || json[at] == ']') depth--;
    if (json[at] != '"') continue;
    size_t begin = ++at;
    while (at < length && json[at] != '"') at += json[at] == '\\' ? 2 : 1;
    if (depth != 1 || at - begin != wanted || memcmp(json + begin, name, wanted) != 0) continue;
    size_t value = at + 1;
    while (value < length && (json[value] == ' ' || json[value] == '\n' || json[value] == '\t' || json[value] == '\r')) value++;
    /* a text of that name is no key: no colon follows it */
    if (value >= length || json[value] != ':') continue;
    char *end;
    double number = strtod(json + value + 1, &end);
    return end == json + value + 1 ? otherwise : number;
  }
  return otherwise;
}

bool weir_capacity(const weir_input *input, double *per_replica) {
  if (!input->capacity.per_replica.is_some) return false;
  *per_replica = input->capacity.per_replica.val;
  return isfinite(*per_replica) && *per_replica > 0;
}

bool weir_find(const weir_input *input, const char *name, weir_column *column) {
  for (size_t at = 0; at < input->window.series.len; at++) {
    const weir_policy_types_series_t *series = &input->window.series.ptr[at];
    if (!is(series->name, name)) continue;
    column->times = input->window.times.ptr;
    column->values = series->values.ptr;
    column->length = series->values.len < input->window.times.len ? series->values.len : input->window.times.len;
    return true;
  }
  return false;
}

/* The next finite sample of the last seconds, going back in time from `*left`; false when there is none. */
static bool next(weir_column column, double seconds, size_t *left, double *value, double *age) {
  while (*left > 0) {
    size_t at = --*left;
    *age = (double)(column.times[column.length - 1] - column.times[at]) / 1000;
    if (*age > 0 && !(*age < seconds)) return false;
    *value = column.values[at];
    if (isfinite(*value)) return true;
  }
  return false;
}

bool weir_latest(weir_column column, double seconds, double *value) {
  size_t left = column.length;
  double age;
  return next(column, seconds, &left, value, &age);
}

bool weir_mean(weir_column column, double seconds, double *mean) {
  size_t left = column.length;
  double value, age, count = 0;
  *mean = 0;
  while (next(column, seconds, &left, &value, &age)) {
    count += 1;
    *mean += value / count - *mean / count;
  }
  return count > 0 && isfinite(*mean);
}

bool weir_max(weir_column column, double seconds, double *most) {
  size_t left = column.length;
  double value, age;
  bool any = false;
  for (; next(column, seconds, &left, &value, &age); any = true)
    if (!any || value > *most) *most = value;
  return any;
}

bool weir_min(weir_column column, double seconds, double *least) {
  size_t left = column.length;
  double value, age;
  bool any = false;
  for (; next(column, seconds, &left, &value, &age); any = true)
    if (!any || value < *least) *least = value;
  return any;
}

bool weir_slope(weir_column column, double seconds, double *slope) {
  double mean, value, age, ages = 0, count = 0, covariance = 0, variance = 0;
  if (!weir_mean(column, seconds, &mean)) return false;
  for (size_t left = column.length; next(column, seconds, &left, &value, &age); count += 1) ages += age;
  for (size_t left = column.length; next(column, seconds, &left, &value, &age);) {
    double time = ages / count - age;
    covariance += time * (value - mean);
    variance += time * time;
  }
  *slope = covariance / variance;
  return isfinite(*slope);
}

uint32_t weir_replicas_for(double load, double per_replica) {
  double quotient = load / per_replica, whole = round(quotient);
  double rounded = fabs(quotient - whole) <= fabs(whole) * 1e-9 ? whole : ceil(quotient);
  if (isnan(rounded) || rounded > WEIR_MAX_REPLICAS) return WEIR_MAX_REPLICAS;
  return rounded < 0 ? 0 : (uint32_t)rounded;
}

const char *weir_short(double value, char text[WEIR_SHORT]) {
  double size = fabs(value);
  if (!(size < 1e15)) {
    snprintf(text, WEIR_SHORT, "%s", isnan(value) ? "nothing" : value > 0 ? "over 10^15" : "under -10^15");
    return text;
  }
  int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  long long scale = decimals == 0 ? 1 : decimals == 1 ? 10 : 100;
  long long scaled = (long long)round(size * (double)scale), rest = scaled % scale;
  const char *sign = value < 0 && scaled > 0 ? "-" : "";
  if (rest == 0)
    snprintf(text, WEIR_SHORT, "%s%lld", sign, scaled / scale);
  else if (decimals == 2 && rest % 10 == 0)
    snprintf(text, WEIR_SHORT, "%s%lld.%lld", sign, scaled / scale, rest / 10);
  else
    snprintf(text, WEIR_SHORT, "%s%lld.%0*lld", sign, scaled / scale, decimals, rest);
  return text;
}

void weir_propose(weir_proposal *proposal, uint32_t replicas) {
  memset(proposal, 0, sizeof *proposal);
  proposal->replicas = replicas;
  scaling_policy_string_dup(&proposal->rationale.code, "Proposed");
  scaling_policy_string_dup(&proposal->rationale.sentence, "");
  proposal->rationale.numbers.ptr = calloc(MOST_NUMBERS, sizeof *proposal->rationale.numbers.ptr);
}

void weir_because(weir_proposal *proposal, const char *code, const char *sentence, ...) {
  char text[MOST_SENTENCE + 1];
  va_list arguments;
  va_start(arguments, sentence);
  vsnprintf(text, sizeof text, sentence, arguments);
  va_end(arguments);
  scaling_policy_string_dup(&proposal->rationale.code, code);
  scaling_policy_string_dup(&proposal->rationale.sentence, text);
}

void weir_number(weir_proposal *proposal, const char *name, double value, const char *unit) {
  weir_policy_types_list_named_number_t *numbers = &proposal->rationale.numbers;
  if (!isfinite(value) || numbers->ptr == NULL || numbers->len == MOST_NUMBERS) return;
  weir_policy_types_named_number_t *number = &numbers->ptr[numbers->len++];
  scaling_policy_string_dup(&number->name, name);
  number->value = value;
  scaling_policy_string_dup(&number->unit, unit);
}

void weir_remember(weir_proposal *proposal, const void *state, size_t length) {
  proposal->state.ptr = malloc(length);
  if (proposal->state.ptr == NULL) return;
  memcpy(proposal->state.ptr, state, length);
  proposal->state.len = length;
}

bool weir_refuse(weir_refusal *refusal, const char *code, const char *sentence) {
  scaling_policy_string_dup(&refusal->code, code);
  scaling_policy_string_dup(&refusal->sentence, sentence);
  return false;
}

bool weir_capacity_unknown(weir_refusal *refusal) {
  return weir_refuse(refusal, "CapacityUnknown",
                     "What one replica can process is neither declared nor learnt yet: set `spec.capacityPerReplica`, or wait until a saturated "
                     "replica shows it.");
}

bool weir_not_enough_samples(weir_refusal *refusal) {
  return weir_refuse(refusal, "NotEnoughSamples", "Too few samples were measured of late to decide on.");
}
