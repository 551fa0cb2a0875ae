// The map: one dot per airport, as large as its traffic, coloured by the mean delay of its last departures; a ring for each event.

import { type Airport, type Airports, recentMean } from "./airports.js"
import { byId, count, decimal, svg } from "./dom.js"
import { HEIGHT, OUTLINE, WIDTH } from "./outline.js"

/** Upper ends of the colour classes d0…d4, minutes; above is d5. */
const STEPS = [0, 5, 10, 15, 25]
const RINGS_MAX = 48

export const colour = (delay: number): string => {
  const step = STEPS.findIndex((upper) => delay <= upper)
  return `d${step < 0 ? STEPS.length : step}`
}

export class Map {
  private readonly dots = new globalThis.Map<string, { dot: SVGElement; title: SVGElement }>()
  private readonly layer = svg("g", { class: "dots" })
  private readonly rings = svg("g", { class: "rings" })
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)")

  constructor(private readonly select: (code: string) => void) {
    const root = byId<SVGSVGElement>("map-svg")
    root.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`)
    root.append(svg("path", { class: "land", d: OUTLINE }), this.rings, this.layer)
  }

  draw(airports: Airports): void {
    for (const airport of airports.changed) this.dot(airport)
    if (this.still.matches || document.hidden) return
    for (const airport of airports.hit) {
      if (this.rings.childElementCount >= RINGS_MAX) return
      if (airport.x === null || airport.y === null) continue
      const ring = svg("circle", { class: `ring ${colour(airport.recent[airport.recent.length - 1] ?? 0)}`, cx: airport.x, cy: airport.y, r: 16 })
      ring.addEventListener("animationend", () => ring.remove())
      this.rings.append(ring)
    }
  }

  private dot(airport: Airport): void {
    if (airport.x === null || airport.y === null || !airport.flights) return
    let held = this.dots.get(airport.code)
    if (!held) {
      const title = svg("title")
      const dot = svg("circle", { cx: airport.x, cy: airport.y }, title)
      dot.addEventListener("click", () => this.select(airport.code))
      held = { dot, title }
      this.dots.set(airport.code, held)
      this.layer.append(dot)
    }
    held.dot.setAttribute("r", (2 + Math.min(9, Math.sqrt(airport.flights) / 3.2)).toFixed(1))
    held.dot.setAttribute("class", `dot ${colour(recentMean(airport))}`)
    const text = `${airport.code} ${airport.name}, ${airport.city}: ${count(airport.flights)} flights, last ${airport.recent.length} on average ${decimal(recentMean(airport))} min late`
    if (held.title.textContent !== text) held.title.textContent = text
  }
}
