// Makes src/places.ts and src/outline.ts from the npm package vega-datasets 3.2.1 (data/airports.csv, data/us-10m.json, data/flights-20k.json).
// Run by hand when the data changes: node tools/geography.mjs <unpacked package>
import { readFileSync, writeFileSync } from "node:fs"

const [from] = process.argv.slice(2)
const read = (name) => readFileSync(`${from}/data/${name}`, "utf8")
const radians = Math.PI / 180

// Albers' equal-area conic projection, turned so that x grows to the east and y to the south.
function albers(parallel1, parallel2, meridian, latitude) {
  const n = (Math.sin(parallel1 * radians) + Math.sin(parallel2 * radians)) / 2
  const c = Math.cos(parallel1 * radians) ** 2 + 2 * n * Math.sin(parallel1 * radians)
  const rho = (lat) => Math.sqrt(c - 2 * n * Math.sin(lat * radians)) / n
  const rho0 = rho(latitude)
  return (lon, lat) => {
    const away = (((lon - meridian + 540) % 360) - 180) * n * radians
    return [rho(lat) * Math.sin(away), rho(lat) * Math.cos(away) - rho0]
  }
}

const width = 960, height = 600
const frames = [
  { of: (lon, lat) => lat > 50 && (lon < -125 || lon > 165), project: albers(55, 65, -154, 62), scale: 400, at: [138, 500] },
  { of: (lon, lat) => lat < 30 && lon < -150, project: albers(8, 18, -157, 20.5), scale: 1150, at: [310, 545] },
  { of: (lon, lat) => lat < 19 && lon > -70, project: albers(8, 18, -66, 18), scale: 1500, at: [850, 560] },
  { of: (lon, lat) => lat < 20, project: albers(8, 18, 144.8, 13.5), scale: 1150, at: [420, 560] },
  { of: () => true, project: albers(29.5, 45.5, -96, 38.6), scale: 1180, at: [480, 285] },
]
const place = (lon, lat) => {
  const frame = frames.find((candidate) => candidate.of(lon, lat))
  const [x, y] = frame.project(lon, lat)
  return [frame.at[0] + frame.scale * x, frame.at[1] + frame.scale * y]
}

const flights = JSON.parse(read("flights-20k.json"))
const wanted = new Set(flights.flatMap((flight) => [flight.origin, flight.destination]))
const quote = JSON.stringify
const title = (text) => text.replace(/"/g, "").trim()
const places = read("airports.csv").trim().split("\n").slice(1)
  .map((line) => [...line.matchAll(/("([^"]*)"|[^,]*)(,|$)/g)].map((match) => title(match[1])))
  .filter(([code]) => wanted.has(code))
  .map(([code, name, city, state, , latitude, longitude]) => {
    // the source has Guam on the wrong side of the globe
    const [x, y] = place(code === "GUM" ? 144.796 : Number(longitude), Number(latitude))
    return `  [${[code, name, city, state].map(quote).join(", ")}, ${x.toFixed(1)}, ${y.toFixed(1)}],`
  })
writeFileSync("src/places.ts", [
  "// Made by tools/geography.mjs from vega-datasets 3.2.1, data/airports.csv: the airports of data/flights-20k.json.",
  `// Code, name, city, state, and the place on a map of ${width} × ${height} (Albers' projection; Alaska and the islands moved in).`,
  "export const PLACES: readonly (readonly [string, string, string, string, number, number])[] = [",
  ...places, "]", ""].join("\n"))

// State borders: arcs of the topology, projected and thinned out; both sides of a border use the same arc, so nothing gapes.
const topology = JSON.parse(read("us-10m.json"))
const { scale, translate } = topology.transform
const project = (arc) => {
  let x = 0, y = 0
  return arc.map(([dx, dy]) => {
    x += dx; y += dy
    return place(x * scale[0] + translate[0], y * scale[1] + translate[1])
  })
}
function thin(points, tolerance) {
  if (points.length < 3) return points
  const [a, b] = [points[0], points[points.length - 1]]
  const span = Math.hypot(b[0] - a[0], b[1] - a[1])
  let far = 0, at = 0
  points.forEach((p, i) => {
    const off = span ? Math.abs((b[0] - a[0]) * (a[1] - p[1]) - (a[0] - p[0]) * (b[1] - a[1])) / span : Math.hypot(p[0] - a[0], p[1] - a[1])
    if (off > far) { far = off; at = i }
  })
  if (far <= tolerance) return [a, b]
  return [...thin(points.slice(0, at + 1), tolerance).slice(0, -1), ...thin(points.slice(at), tolerance)]
}
const arcs = topology.arcs.map((arc) => thin(project(arc), 0.7))
const arcOf = (index) => index < 0 ? [...arcs[~index]].reverse() : arcs[index]
const area = (ring) => Math.abs(ring.reduce((sum, [x, y], i) => {
  const [u, v] = ring[(i + 1) % ring.length]
  return sum + x * v - u * y
}, 0) / 2)
const paths = topology.objects.states.geometries.flatMap((state) => {
  const polygons = state.type === "Polygon" ? [state.arcs] : state.arcs ?? []
  return polygons.flatMap((polygon) => polygon.slice(0, 1)).map((ring) => ring.flatMap((index, i) => i ? arcOf(index).slice(1) : arcOf(index)))
}).filter((ring) => area(ring) > 6 && ring.every(([x, y]) => x > -20 && x < width + 20 && y > -20 && y < height + 20))
const path = paths.map((ring) => {
  let last = ring[0].map(Math.round)
  const steps = ring.slice(1).map((point) => {
    const next = point.map(Math.round)
    const step = [next[0] - last[0], next[1] - last[1]]
    last = next
    return step[0] || step[1] ? `${step[0]} ${step[1]}` : ""
  }).filter(Boolean)
  return `M${ring[0].map(Math.round).join(" ")}l${steps.join(" ").replace(/ -/g, "-")}z`
}).join("")
writeFileSync("src/outline.ts", [
  "// Made by tools/geography.mjs from vega-datasets 3.2.1, data/us-10m.json (US Atlas, public domain): outlines of the states.",
  `export const WIDTH = ${width}`, `export const HEIGHT = ${height}`, `export const OUTLINE = ${quote(path)}`, ""].join("\n"))
console.log(places.length, "places,", path.length, "bytes of outline")
