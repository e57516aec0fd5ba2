// `@NAME@`: replicas for the load of the last seconds, with spare capacity.
import { Proposal, capacityOr, column, notEnoughSamples, replicasFor, short } from './weir.js';

export const describe = {
  describe: () => ({
    name: '@NAME@',
    version: '0.1.0',
    summary: 'Replicas for the load of the last ten seconds, with spare capacity.',
    paramsSchema: JSON.stringify({
      type: 'object',
      additionalProperties: false,
      properties: {
        headroom: { type: 'number', description: 'Spare capacity as a share of the load.', default: 0.3, minimum: 0, maximum: 10 },
      },
    }),
    series: [{ name: 'offered', required: true }],
  }),
};

export const scaling = {
  /** @param {import('./weir.js').Input} input */
  decide(input) {
    const { headroom = 0.3 } = JSON.parse(input.params);
    const capacity = capacityOr(input);
    const load = column(input, 'offered').mean(10) ?? notEnoughSamples();
    const replicas = Math.max(replicasFor(load * (1 + headroom), capacity), 1);
    return new Proposal(replicas)
      .because('FollowsLoad', `${short(load)} records/s are offered, one replica can process ${short(capacity)}.`)
      .number('load', load, 'records/s')
      .number('capacity', capacity, 'records/s');
  },
};
