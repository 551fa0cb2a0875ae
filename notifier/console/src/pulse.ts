// Numbers of the pipeline, once a second from /v1/pulse; what is not known is shown as "–".

import { byId, compact, count, decimal, getJson, line, make, say, span, svg } from "./dom.js"

/** Rates look back this long, by the server's clock: a busy browser would else make them jump. */
const RATE_MS = 3_000
const LOOK_MS = 1_000
/** The second look comes soon, as a rate needs two. */
const FIRST_MS = 250

interface Known {
  at: number
  inputs: number
}

export class Pulse {
  private readonly body = byId("pipeline-body")
  private readonly before = new Map<string, Known[]>()

  constructor(private readonly parts: (ready: boolean, words: string) => void) {
    void this.run()
  }

  private async run(): Promise<void> {
    for (let pause = FIRST_MS; ; pause = LOOK_MS) {
      try {
        if (!document.hidden) this.draw(await getJson("/v1/pulse"))
      } catch {
        this.parts(false, "the server does not answer")
      }
      await new Promise((done) => setTimeout(done, pause))
    }
  }

  private draw(pulse: any): void {
    let inputs: number | null = null, results = 0, total = 0
    const commit: number[] = []
    const rows = pulse.streams.map((stream: any) => {
      const rate = this.rate(stream.stream, stream.inputs_total ?? stream.accepted_total ?? null, Date.parse(pulse.time))
      if (rate !== null) inputs = (inputs ?? 0) + rate
      results += stream.results_per_second
      total += stream.results_total
      if (stream.commit_to_socket_ms.p50 !== null) commit.push(stream.commit_to_socket_ms.p50)
      return row(stream, rate)
    })
    this.body.replaceChildren(...rows)
    say(byId("kpi-in"), compact(inputs))
    say(byId("kpi-out"), compact(results))
    say(byId("kpi-total"), compact(total))
    say(byId("kpi-latency"), commit.length ? span(Math.max(...commit)) : "–")
    say(byId("node"), [
      `${count(pulse.connections.websocket)} WebSocket`, `${count(pulse.connections.sse)} SSE`,
      `${compact(pulse.deliveries_per_second)} deliveries/s`, `${(pulse.ring_bytes / 1_048_576).toFixed(1)} MiB in memory`,
      `store: ${pulse.store}`, `up ${uptime(pulse.uptime_s)}`,
    ].join(" · "))
    const missing = pulse.components.filter((component: any) => !component.ready).map((component: any) => `${component.name}: ${component.detail}`)
    this.parts(pulse.ready, pulse.ready ? "all parts ready" : missing.join("; ") || "not ready")
  }

  /** Null until it is known: a process of its own cannot see what others take in, and one look gives no rate. */
  private rate(stream: string, inputs: number | null, now: number): number | null {
    const seen = (this.before.get(stream) ?? []).filter((known) => now - known.at <= RATE_MS + LOOK_MS)
    this.before.set(stream, seen)
    if (inputs === null) return null
    const oldest = seen[0]
    seen.push({ at: now, inputs })
    return oldest && now > oldest.at ? Math.max(0, ((inputs - oldest.inputs) * 1_000) / (now - oldest.at)) : null
  }
}

function row(stream: any, rate: number | null): HTMLTableRowElement {
  const number = (text: string): HTMLElement => make("td", { class: "number" }, text)
  const pair = (times: any): string => (times.p50 === null ? "–" : `${span(times.p50)} / ${span(times.p99)}`)
  return make("tr", {},
    make("th", { scope: "row" }, stream.stream, make("span", { class: "city" }, `${stream.partitions} partitions`)),
    number(rate === null ? "–" : decimal(rate)),
    number(decimal(stream.results_per_second)),
    make("td", {}, svg("svg", { viewBox: "0 0 120 24", class: "sparkline wide", role: "img", "aria-label": "results per second, last minute", preserveAspectRatio: "none" },
      svg("polyline", { class: "spark", points: line(stream.history, 120, 24) }))),
    number(pair(stream.input_to_commit_ms)),
    number(pair(stream.commit_to_socket_ms)),
    number(count(stream.lag_records)),
    number(count(stream.dead_letters_total)))
}

function uptime(seconds: number): string {
  const [h, m] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  return h ? `${h} h ${m} min` : m ? `${m} min ${seconds % 60} s` : `${seconds} s`
}
