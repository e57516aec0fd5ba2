/* `calm` in C: up at once, down only when the load has been lower for a while. */
#include "weir.h"
#include <string.h>

/* What it remembers: a version, and the Unix milliseconds since when fewer replicas would do. */
enum { VERSION = 1, MEMORY = 1 + sizeof(int64_t) };

void exports_weir_policy_describe_describe(weir_description *about) {
  weir_describe(about, "calm", "0.1.0", "Up at once, down only when the load has been lower for a while.");
  weir_params_schema(about,
                     "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                     "\"headroom\":{\"type\":\"number\",\"description\":\"Spare capacity as a share of the load.\","
                     "\"default\":0.3,\"minimum\":0,\"maximum\":10},"
                     "\"holdSeconds\":{\"type\":\"number\",\"description\":\"Seconds that the load has to be lower before replicas go.\","
                     "\"default\":60,\"minimum\":0,\"maximum\":86400}}}");
  weir_series(about, "offered", true);
  weir_state_version(about, VERSION, NULL, 0);
}

bool exports_weir_policy_scaling_decide(weir_input *input, weir_proposal *proposal, weir_refusal *refusal) {
  double headroom = weir_number_param(input, "headroom", 0.3), hold_seconds = weir_number_param(input, "holdSeconds", 60);
  double capacity, load;
  char text[2][WEIR_SHORT];
  weir_column offered;

  if (!weir_capacity(input, &capacity)) return weir_capacity_unknown(refusal);
  if (!weir_find(input, "offered", &offered)) return weir_refuse(refusal, "SeriesMissing", "The window has no series `offered`.");
  if (!weir_mean(offered, 10, &load)) return weir_not_enough_samples(refusal);

  uint32_t wanted = weir_replicas_for(load * (1 + headroom), capacity), desired = input->replicas.desired;
  if (wanted < 1) wanted = 1;
  int64_t since = input->now;
  if (input->state.len == MEMORY && input->state.ptr[0] == VERSION) memcpy(&since, input->state.ptr + 1, sizeof since);
  double waited = (double)(input->now - since) / 1000;
  bool waiting = wanted < desired && waited < hold_seconds;

  weir_propose(proposal, waiting ? desired : wanted);
  if (waiting)
    weir_because(proposal, "Waiting", "The load has been lower for %s of %s s.", weir_short(waited, text[0]), weir_short(hold_seconds, text[1]));
  else
    weir_because(proposal, wanted > desired ? "AboveCapacity" : wanted < desired ? "BelowCapacity" : "WithinBand",
                 "%s records/s are offered, one replica can process %s.", weir_short(load, text[0]), weir_short(capacity, text[1]));
  weir_number(proposal, "load", load, "records/s");
  weir_number(proposal, "wanted", wanted, "1");
  if (waiting) {
    uint8_t memory[MEMORY] = {VERSION};
    memcpy(memory + 1, &since, sizeof since);
    weir_number(proposal, "waited", waited, "s");
    weir_remember(proposal, memory, sizeof memory);
  }
  return true;
}
