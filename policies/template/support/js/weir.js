// What a scaling policy in JavaScript is made with. It says the same as Weir's SDK in Rust, to the bit:
// a missing sample is NaN and never read as zero, and "the last n seconds" count back from the newest
// time of the window.

/**
 * What a policy is handed; `wit/scaling.wit` says what each part means. Times and `now` are BigInt.
 * @typedef {object} Input
 * @property {bigint} now Unix milliseconds of this decision
 * @property {string} namespace
 * @property {string} name
 * @property {{desired: number, ready: number, starting: number, min: number, max: number}} replicas
 * @property {{perReplica?: number, learnt: boolean, startUp: number}} capacity
 * @property {{freshness?: number, refusedShare?: number, replicaHours?: number}} objectives
 * @property {{times: BigInt64Array, series: {name: string, unit: string, values: Float64Array}[]}} window
 * @property {string} params JSON
 * @property {Uint8Array} state
 */

/** The most replicas that the host takes for sane. */
export const MAX_REPLICAS = 150_000;

/** Ends the decision with a refusal: the replicas are held, and the word is recorded. */
export function refuse(code, sentence) {
  throw { code, sentence: sentence.slice(0, 1024) };
}

/** Too little was measured of late. */
export function notEnoughSamples() {
  refuse('NotEnoughSamples', 'Too few samples were measured of late to decide on.');
}

/** Records a second of one replica: `own` when given, else what the host declared or learnt; or a refusal. */
export function capacityOr(input, own = undefined) {
  const known = [own, input.capacity.perReplica].find((rate) => Number.isFinite(rate) && rate > 0);
  return (
    known ??
    refuse(
      'CapacityUnknown',
      'What one replica can process is neither declared nor learnt yet: set `spec.capacityPerReplica`, or wait until a saturated replica shows it.',
    )
  );
}

/** One series with the window's times. */
export class Column {
  constructor(times, values) {
    this.times = times;
    this.values = values;
  }

  /** The finite samples of the last `seconds` seconds, the newest first: `{value, age}`, age in seconds. */
  *samples(seconds) {
    const length = Math.min(this.times.length, this.values.length);
    for (let index = length - 1; index >= 0; index -= 1) {
      const age = Number(this.times[length - 1] - this.times[index]) / 1000;
      if (age > 0 && !(age < seconds)) return;
      const value = this.values[index];
      if (Number.isFinite(value)) yield { value, age };
    }
  }

  /** The newest value, or undefined. */
  latest(seconds) {
    for (const { value } of this.samples(seconds)) return value;
    return undefined;
  }

  /** The mean, or undefined when nothing was measured. */
  mean(seconds) {
    let [mean, count] = [0, 0];
    for (const { value } of this.samples(seconds)) {
      count += 1;
      mean += value / count - mean / count;
    }
    return count > 0 && Number.isFinite(mean) ? mean : undefined;
  }

  /** The largest value, or undefined. */
  max(seconds) {
    let most;
    for (const { value } of this.samples(seconds)) if (most === undefined || value > most) most = value;
    return most;
  }

  /** The smallest value, or undefined. */
  min(seconds) {
    let least;
    for (const { value } of this.samples(seconds)) if (least === undefined || value < least) least = value;
    return least;
  }

  /** Rise per second, by least squares, or undefined with fewer than two samples. */
  slope(seconds) {
    const samples = [...this.samples(seconds)];
    const meanValue = this.mean(seconds);
    if (meanValue === undefined) return undefined;
    const meanAge = samples.reduce((sum, { age }) => sum + age, 0) / samples.length;
    let [covariance, variance] = [0, 0];
    for (const { value, age } of samples) {
      covariance += (meanAge - age) * (value - meanValue);
      variance += (meanAge - age) * (meanAge - age);
    }
    const slope = covariance / variance;
    return Number.isFinite(slope) ? slope : undefined;
  }
}

/** The column of that name, or a refusal. */
export function column(input, name) {
  const found = input.window.series.find((series) => series.name === name);
  return found ? new Column(input.window.times, found.values) : refuse('SeriesMissing', `The window has no series \`${name}\`.`);
}

/** The fewest replicas that together process `load`; 0 for no load, MAX_REPLICAS beyond it. */
export function replicasFor(load, perReplica) {
  const quotient = load / perReplica;
  const whole = Math.round(quotient);
  const rounded = Math.abs(quotient - whole) <= Math.abs(whole) * 1e-9 ? whole : Math.ceil(quotient);
  return Number.isNaN(rounded) ? MAX_REPLICAS : Math.min(Math.max(rounded, 0), MAX_REPLICAS);
}

/** A number as people write it in a sentence: whole from 100 on, one decimal from 10 on, else two. */
export function short(value) {
  const size = Math.abs(value);
  if (!(size < 1e15)) return Number.isNaN(value) ? 'nothing' : value > 0 ? 'over 10^15' : 'under -10^15';
  const scale = size >= 99.95 ? 1 : size >= 9.995 ? 10 : 100;
  const scaled = Math.round(size * scale);
  return `${value < 0 && scaled > 0 ? '-' : ''}${scaled / scale}`;
}

/** What a policy answers. */
export class Proposal {
  constructor(replicas) {
    this.replicas = replicas;
    this.rationale = { code: 'Proposed', sentence: '', numbers: [] };
    this.state = new Uint8Array();
  }

  /** Why: a stable CamelCase word for machines and one sentence for people. */
  because(code, sentence) {
    this.rationale.code = code;
    this.rationale.sentence = sentence.slice(0, 1024);
    return this;
  }

  /** A number that took part; one that is not finite is left out. */
  number(name, value, unit) {
    if (Number.isFinite(value) && this.rationale.numbers.length < 32) this.rationale.numbers.push({ name, value, unit });
    return this;
  }

  /** Bytes for the next decision on this object. */
  remember(bytes) {
    this.state = bytes;
    return this;
  }
}
