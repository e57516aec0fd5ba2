/* What a scaling policy in C is made with. It says the same as Weir's SDK in Rust, to the bit: a missing
 * sample is NaN and never read as zero, and "the last n seconds" count back from the newest time of the
 * window. `scaling_policy.h` says what each part of an input means.
 *
 * A policy defines `exports_weir_policy_describe_describe` and `exports_weir_policy_scaling_decide`. Every
 * call runs in a fresh instance, so it need not free anything. */
#ifndef WEIR_H
#define WEIR_H

#include "scaling_policy.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef exports_weir_policy_describe_description_t weir_description;
typedef exports_weir_policy_scaling_input_t weir_input;
typedef exports_weir_policy_scaling_proposal_t weir_proposal;
typedef exports_weir_policy_scaling_refusal_t weir_refusal;

/* The most replicas that the host takes for sane. */
#define WEIR_MAX_REPLICAS 150000u

/* What a policy says about itself. Every text is copied, here and below: what leaves the component is freed
 * by the generated bindings once the host has read it. */
void weir_describe(weir_description *about, const char *name, const char *version, const char *summary);
/* JSON Schema of params; without it there are none. */
void weir_params_schema(weir_description *about, const char *schema);
/* A series that the policy reads; at most 64. */
void weir_series(weir_description *about, const char *name, bool required);
/* Version of the state that `weir_remember` is given, from 1 on, and `count` older ones that the policy can
 * read as well. A new module is handed the state of the one before only when it says that it reads its
 * version; a policy that remembers nothing needs none of this. */
void weir_state_version(weir_description *about, uint32_t version, const uint32_t *reads, size_t count);

/* A number among params; `otherwise` when it is not set. */
double weir_number_param(const weir_input *input, const char *name, double otherwise);

/* Records a second of one replica; false when it is neither declared nor learnt. */
bool weir_capacity(const weir_input *input, double *per_replica);

/* One series with the window's times. */
typedef struct {
  const int64_t *times;
  const double *values;
  size_t length;
} weir_column;

/* The column of that name; false when the window has none. */
bool weir_find(const weir_input *input, const char *name, weir_column *column);

/* Over the finite samples of the last seconds; false when there are too few. */
bool weir_latest(weir_column column, double seconds, double *value);
bool weir_mean(weir_column column, double seconds, double *value);
bool weir_max(weir_column column, double seconds, double *value);
bool weir_min(weir_column column, double seconds, double *value);
/* Rise per second, by least squares. */
bool weir_slope(weir_column column, double seconds, double *value);

/* The fewest replicas that together process `load`; 0 for no load, WEIR_MAX_REPLICAS beyond it. */
uint32_t weir_replicas_for(double load, double per_replica);

/* A number as people write it in a sentence: whole from 100 on, one decimal from 10 on, else two. */
#define WEIR_SHORT 32
const char *weir_short(double value, char text[WEIR_SHORT]);

/* A proposal of that many replicas; then why, and with which numbers (at most 32; one that is not finite
 * is left out), and what the next decision on this object is handed. */
void weir_propose(weir_proposal *proposal, uint32_t replicas);
void weir_because(weir_proposal *proposal, const char *code, const char *sentence, ...) __attribute__((format(printf, 3, 4)));
void weir_number(weir_proposal *proposal, const char *name, double value, const char *unit);
void weir_remember(weir_proposal *proposal, const void *state, size_t length);

/* A refusal: the replicas are held, and the word is recorded. Each is false, for `return`. */
bool weir_refuse(weir_refusal *refusal, const char *code, const char *sentence);
bool weir_capacity_unknown(weir_refusal *refusal);
bool weir_not_enough_samples(weir_refusal *refusal);

#endif
