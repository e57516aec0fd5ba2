// `calm` in JavaScript: up at once, down only when the load has been lower for a while.
import { Proposal, capacityOr, column, notEnoughSamples, replicasFor, short } from './weir.js';

export const describe = {
  describe: () => ({
    name: 'calm',
    version: '0.1.0',
    summary: 'Up at once, down only when the load has been lower for a while.',
    paramsSchema: JSON.stringify({
      type: 'object',
      additionalProperties: false,
      properties: {
        headroom: { type: 'number', description: 'Spare capacity as a share of the load.', default: 0.3, minimum: 0, maximum: 10 },
        holdSeconds: { type: 'number', description: 'Seconds that the load has to be lower before replicas go.', default: 60, minimum: 0, maximum: 86400 },
      },
    }),
    series: [{ name: 'offered', required: true }],
    state: { version: VERSION, reads: [] },
  }),
};

export const scaling = {
  /** @param {import('./weir.js').Input} input */
  decide(input) {
    const { headroom = 0.3, holdSeconds = 60 } = JSON.parse(input.params);
    const capacity = capacityOr(input);
    const load = column(input, 'offered').mean(10) ?? notEnoughSamples();
    const wanted = Math.max(replicasFor(load * (1 + headroom), capacity), 1);
    const { desired } = input.replicas;
    const offered = `${short(load)} records/s are offered, one replica can process ${short(capacity)}.`;
    const propose = (replicas, code, sentence) =>
      new Proposal(replicas).because(code, sentence).number('load', load, 'records/s').number('wanted', wanted, '1');
    if (wanted >= desired) return propose(wanted, wanted > desired ? 'AboveCapacity' : 'WithinBand', offered);

    const since = remembered(input.state) ?? input.now;
    const waited = Number(input.now - since) / 1000;
    if (waited >= holdSeconds) return propose(wanted, 'BelowCapacity', offered);
    return propose(desired, 'Waiting', `The load has been lower for ${short(waited)} of ${short(holdSeconds)} s.`)
      .number('waited', waited, 's')
      .remember(bytes(since));
  },
};

// A version, and the Unix milliseconds since when fewer replicas would do.
const VERSION = 1;

function bytes(since) {
  const view = new DataView(new ArrayBuffer(9));
  view.setUint8(0, VERSION);
  view.setBigInt64(1, since, true);
  return new Uint8Array(view.buffer);
}

function remembered(state) {
  if (state.length !== 9 || state[0] !== VERSION) return undefined;
  return new DataView(state.buffer, state.byteOffset, 9).getBigInt64(1, true);
}
