// What the page knows of each airport: the view first, then every result behind it, joined by seq.

import { getJson } from "./dom.js"
import type { Result } from "./live.js"
import { PLACES } from "./places.js"

const RECENT = 20
/** From so many minutes on a departure counts as delayed. */
export const DELAYED = 15

export interface Airport {
  code: string
  name: string
  city: string
  x: number | null
  y: number | null
  seq: number
  flights: number
  sum: number
  delayed: number
  /** Delays of the last departures, oldest first. */
  recent: number[]
  /** Told as delayed. */
  alarm: boolean
}

export const mean = (airport: Airport): number => (airport.flights ? airport.sum / airport.flights : 0)
export const share = (airport: Airport): number => (airport.flights ? airport.delayed / airport.flights : 0)
export const recentMean = (airport: Airport): number =>
  airport.recent.length ? airport.recent.reduce((sum, delay) => sum + delay, 0) / airport.recent.length : 0

const known = new Map(PLACES.map(([code, name, city, state, x, y]) => [code, { name, city: `${city}, ${state}`, x, y }]))

export class Airports {
  readonly all = new Map<string, Airport>()
  /** Changed since the last drawing. */
  readonly changed = new Set<Airport>()
  /** Had an event since the last drawing. */
  readonly hit = new Set<Airport>()
  private waiting: Result[] | null = []
  private mending = new Set<string>()

  get(code: string): Airport {
    let airport = this.all.get(code)
    if (!airport) {
      const place = known.get(code)
      airport = {
        code, name: place?.name ?? code, city: place?.city ?? "", x: place?.x ?? null, y: place?.y ?? null,
        seq: 0, flights: 0, sum: 0, delayed: 0, recent: [], alarm: false,
      }
      this.all.set(code, airport)
    }
    return airport
  }

  /** Reads all views; results that come meanwhile wait, so that none is lost between the two. */
  async load(): Promise<void> {
    this.waiting ??= []
    try {
      let cursor: string | null = null
      do {
        const page: any = await getJson(`/v1/views/flights?limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`)
        for (const item of page.items) this.put(item.channel, item.seq, item.rows)
        cursor = page.cursor
      } while (cursor)
    } finally {
      const waiting = this.waiting ?? []
      this.waiting = null
      for (const result of waiting) this.take(result)
    }
  }

  take(result: Result): void {
    if (this.waiting) {
      this.waiting.push(result)
      return
    }
    const code = result.ch.split("/")[1]
    if (!code || result.bad) return
    const airport = this.get(code)
    const seq = result.seq ?? airport.seq + 1
    if (seq <= airport.seq) return
    // the view trailed the live stream by a moment: read it again for this one
    if (seq > airport.seq + 1 && airport.seq > 0) void this.mend(code)
    airport.seq = seq
    this.changed.add(airport)
    switch (result.type) {
      case "flight.recorded": {
        const delay = Number(result.data.delay_minutes)
        airport.flights = Number(result.data.flights)
        airport.sum = Number(result.data.delay_minutes_sum)
        if (delay >= DELAYED) airport.delayed += 1
        airport.recent.push(delay)
        if (airport.recent.length > RECENT) airport.recent.shift()
        this.hit.add(airport)
        break
      }
      case "airport.delayed":
        airport.alarm = true
        break
      case "airport.recovered":
        airport.alarm = false
        break
    }
  }

  private put(channel: string, seq: number, rows: { sort: string; data: any }[]): void {
    const code = channel.split("/")[1]
    if (!code) return
    const airport = this.get(code)
    if (seq < airport.seq) return
    airport.seq = seq
    for (const { sort, data } of rows) {
      if (sort === "") {
        airport.flights = Number(data.flights)
        airport.sum = Number(data.delay_minutes_sum)
        airport.delayed = Number(data.delayed_15)
      } else if (sort === "recent") {
        airport.recent = data.delays.map(Number)
        airport.alarm = Boolean(data.delayed)
      }
    }
    this.changed.add(airport)
  }

  private async mend(code: string): Promise<void> {
    if (this.mending.has(code)) return
    this.mending.add(code)
    await new Promise((done) => setTimeout(done, 1_000))
    await getJson(`/v1/views/flights/${encodeURIComponent(code)}`)
      .then((view) => this.put(view.channel, view.seq, view.rows))
      .catch(() => undefined)
    this.mending.delete(code)
  }
}
