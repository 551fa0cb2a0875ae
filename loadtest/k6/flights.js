// Posts flights, singly and in batches, and follows the results over WebSocket: every follower checks that seq is dense per channel.
//
//   k6 run loadtest/k6/flights.js
//
// Environment (-e NAME=value): URL and LIVE_URL (write and read side), TOKEN, RATE (single posts/s), BATCH_RATE (batches/s),
// BATCH (events per batch), SECONDS, FOLLOWERS, AIRPORTS, POST_P99_MS, RESULT_P99_MS.
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';

const text = (name, otherwise) => __ENV[name] || otherwise;
const number = (name, otherwise) => Number(text(name, otherwise));

const url = text('URL', 'http://127.0.0.1:8080');
const liveUrl = text('LIVE_URL', url).replace(/^http/, 'ws') + '/v1/ws';
const seconds = number('SECONDS', 20);
const batchSize = number('BATCH', 100);
const airports = number('AIRPORTS', 64);
const followers = number('FOLLOWERS', 5);
const authorization = __ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {};

// Followers are there before the first post, and stay for the results of the last.
const lead = 3;
const drain = 10;

const accepted = new Counter('events_accepted');
const results = new Counter('results_received');
const missing = new Counter('seq_missing');
const repeated = new Counter('seq_repeated');
const resultLatency = new Trend('result_latency', true);

export const options = {
  scenarios: {
    follow: {
      executor: 'per-vu-iterations', exec: 'follow', vus: followers, iterations: 1,
      maxDuration: `${lead + seconds + drain + 20}s`,
    },
    singles: {
      executor: 'constant-arrival-rate', exec: 'single', startTime: `${lead}s`, duration: `${seconds}s`,
      rate: number('RATE', 100), timeUnit: '1s', preAllocatedVUs: 50, maxVUs: 500,
    },
    batches: {
      executor: 'constant-arrival-rate', exec: 'batch', startTime: `${lead}s`, duration: `${seconds}s`,
      rate: number('BATCH_RATE', 5), timeUnit: '1s', preAllocatedVUs: 20, maxVUs: 200,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    seq_missing: ['count==0'],
    seq_repeated: ['count==0'],
    http_req_duration: [`p(99)<${number('POST_P99_MS', 250)}`],
    result_latency: [`p(99)<${number('RESULT_P99_MS', 1000)}`],
  },
  summaryTrendStats: ['avg', 'p(50)', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

// One start for all virtual users; the run's code tells our results from those of other feeds.
export function setup() {
  return { began: Date.now(), run: code('R', Math.floor(Math.random() * 1296)) };
}

export function single(data) {
  const response = post(flight(data));
  check(response, { 'a single is accepted': (r) => r.status === 200 && r.json('verdict') === 'accepted' });
  if (response.status === 200) accepted.add(1);
}

export function batch(data) {
  const response = post(Array.from({ length: batchSize }, () => flight(data)));
  const all = response.status === 200 && response.json('counts.accepted') === batchSize;
  check(response, { 'a batch is accepted whole': () => all });
  if (all) accepted.add(batchSize);
}

export function follow(data) {
  const socket = new WebSocket(liveUrl, ['forebay.v1.json'], { headers: authorization });
  const last = {};
  let ready = false;
  let expected = true;

  socket.onopen = () => {
    socket.send(JSON.stringify({ op: 'hello', sdk: 'k6' }));
    socket.send(JSON.stringify({ op: 'sub', id: 1, ch: ['flights/*'], since: 'now', on_gap: 'stop' }));
    setTimeout(() => { expected = true; socket.close(); }, (lead + seconds + drain) * 1000);
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.op === 'ready') ready = message.status === 'live';
    if (['gap', 'skip', 'end', 'err', 'bye'].includes(message.op)) {
      expected = false;
      console.error(event.data);
    }
    if (message.op === 'result') note(message, last, data);
  };
  socket.onerror = (event) => { expected = false; console.error(event.error); };
  socket.onclose = () => check(null, { 'a follower was live to the end': () => ready && expected });
}

function note(message, last, data) {
  const before = last[message.ch];
  if (before !== undefined && message.seq <= before) {
    repeated.add(1);
    return;
  }
  if (before !== undefined && message.seq > before + 1) missing.add(message.seq - before - 1);
  last[message.ch] = message.seq;
  if (message.type !== 'flight.recorded' || message.data.destination !== data.run) return;
  results.add(1);
  resultLatency.add(Date.now() - data.began - message.data.delay_minutes);
}

// The time of the post travels as the delay, in ms since the run began, so a result says how long it took.
function flight(data) {
  return {
    departed_at: '2001-01-01T00:00:00Z',
    delay_minutes: Date.now() - data.began,
    distance_miles: 100,
    origin: code('Q', Math.floor(Math.random() * airports)),
    destination: data.run,
  };
}

function post(body) {
  const headers = Object.assign({ 'Content-Type': 'application/json' }, authorization);
  return http.post(`${url}/v1/flights`, JSON.stringify(body), { headers });
}

// A code the sample does not know: a letter and two signs.
function code(letter, n) {
  const signs = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ';
  return letter + signs[Math.floor(n / 36) % 36] + signs[n % 36];
}

export function handleSummary(summary) {
  const count = (name) => (summary.metrics[name] ? summary.metrics[name].values.count : 0);
  const line = (name) => {
    if (!summary.metrics[name]) return `${name}: none`;
    const v = summary.metrics[name].values;
    return `${name} ms: p50 ${v['p(50)'].toFixed(1)}  p90 ${v['p(90)'].toFixed(1)}  p99 ${v['p(99)'].toFixed(1)}  `
      + `p99.9 ${v['p(99.9)'].toFixed(1)}  max ${v.max.toFixed(1)}`;
  };
  const failed = Object.entries(summary.metrics)
    .flatMap(([name, metric]) => Object.entries(metric.thresholds || {}).filter(([, t]) => !t.ok).map(([text]) => `${name} ${text}`));
  const due = count('events_accepted') * followers;
  const lines = [
    new Date().toISOString(),
    line('http_req_duration'),
    line('result_latency'),
    `accepted ${count('events_accepted')}, results ${count('results_received')} of ${due} at ${followers} followers`,
    `seq missing ${count('seq_missing')}, repeated ${count('seq_repeated')}, planned posts not sent ${count('dropped_iterations')}`,
    failed.length === 0 ? 'all thresholds kept' : `thresholds broken: ${failed.join('; ')}`,
  ];
  return { stdout: lines.join('\n') + '\n' };
}
