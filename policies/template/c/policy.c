/* `@NAME@`: replicas for the load of the last seconds, with spare capacity. */
#include "weir.h"

void exports_weir_policy_describe_describe(weir_description *about) {
  weir_describe(about, "@NAME@", "0.1.0", "Replicas for the load of the last ten seconds, with spare capacity.");
  weir_params_schema(about,
                     "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                     "\"headroom\":{\"type\":\"number\",\"description\":\"Spare capacity as a share of the load.\","
                     "\"default\":0.3,\"minimum\":0,\"maximum\":10}}}");
  weir_series(about, "offered", true);
}

bool exports_weir_policy_scaling_decide(weir_input *input, weir_proposal *proposal, weir_refusal *refusal) {
  double headroom = weir_number_param(input, "headroom", 0.3);
  double capacity, load;
  char capacity_text[WEIR_SHORT], load_text[WEIR_SHORT];
  weir_column offered;

  if (!weir_capacity(input, &capacity)) return weir_capacity_unknown(refusal);
  if (!weir_find(input, "offered", &offered)) return weir_refuse(refusal, "SeriesMissing", "The window has no series `offered`.");
  if (!weir_mean(offered, 10, &load)) return weir_not_enough_samples(refusal);

  uint32_t replicas = weir_replicas_for(load * (1 + headroom), capacity);
  weir_propose(proposal, replicas < 1 ? 1 : replicas);
  weir_because(proposal, "FollowsLoad", "%s records/s are offered, one replica can process %s.", weir_short(load, load_text),
               weir_short(capacity, capacity_text));
  weir_number(proposal, "load", load, "records/s");
  weir_number(proposal, "capacity", capacity, "records/s");
  return true;
}
