package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Sizes in pixels.
const (
	left, right, top = 64, 16, 44 // around a panel
	wide, high       = 640, 96    // a panel itself
	step             = high + top // from one panel to the next
	points           = 320        // of a line
)

// plot draws the scene as SVG: for every operation that is asked for its calls a
// second, on a logarithmic scale with the quota, and then the share of hosts that
// are fresh.
func (f *fleet) plot() string {
	var panels []string
	for o := range operation(operations) {
		if f.account.busiest(o) > 0 {
			panels = append(panels, f.calls(o))
		}
	}
	if !f.steady() {
		panels = append(panels, f.freshness())
	}
	var b strings.Builder
	height := 40 + step*len(panels)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#333">`+"\n", left+wide+right, height)
	b.WriteString(`<style>path{fill:none;stroke-width:1.4}.asked{stroke:#d95f02}.taken{stroke:#1b6ca8}.quota{stroke:#b00020;stroke-dasharray:6 4}.grid{stroke:#ddd;stroke-width:1}</style>` + "\n")
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="18" font-size="14">%s hosts: %s</text>`+"\n", left, thousands(f.scene.hosts), f.name)
	for i, key := range []string{"asked", "taken", "quota"} {
		text := map[string]string{"asked": "asked, busiest second", "taken": "answered, mean", "quota": "quota"}[key]
		x := left + 260 + 160*i
		fmt.Fprintf(&b, `<path class="%s" d="M%d 14h24"/><text x="%d" y="18">%s</text>`+"\n", key, x, x+30, text)
	}
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">%s</g>`+"\n", left, 40+step*i, p)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// calls is the panel of an operation.
func (f *fleet) calls(o operation) string {
	const least = -1 // the power of ten at the bottom
	most := math.Ceil(math.Log10(math.Max(float64(f.account.busiest(o)), f.rates[o]) * 1.01))
	level := func(perSecond float64) float64 {
		return high * (1 - math.Max(0, (math.Log10(math.Max(perSecond, 1e-9))-least)/(most-least)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<text y="12">%v, calls a second</text>`, o)
	b.WriteString(f.axis())
	for power := least; power <= int(most); power++ {
		y := level(math.Pow10(power))
		fmt.Fprintf(&b, `<path class="grid" d="M0 %.0fh%d"/>`, 20+y, wide)
		if power == least || power%2 == int(most)%2 {
			fmt.Fprintf(&b, `<text x="-6" y="%.0f" text-anchor="end">%s</text>`, 24+y, decade(power))
		}
	}
	asked, _ := bins(f.account.asked[o], f.length)
	_, taken := bins(f.account.taken[o], f.length)
	b.WriteString(line("asked", asked, level) + line("taken", taken, level))
	fmt.Fprintf(&b, `<path class="quota" d="M0 %.1fh%d"/>`, 20+level(f.rates[o]), wide)
	return b.String()
}

// freshness is the panel of the share of hosts that are fresh.
func (f *fleet) freshness() string {
	var b strings.Builder
	b.WriteString(`<text y="12">hosts that are fresh, per cent</text>` + f.axis())
	level := func(percent float64) float64 { return high * (1 - percent/100) }
	for percent := 0.0; percent <= 100; percent += 25 {
		fmt.Fprintf(&b, `<path class="grid" d="M0 %.0fh%d"/><text x="-6" y="%.0f" text-anchor="end">%.0f</text>`,
			20+level(percent), wide, 24+level(percent), percent)
	}
	shares, at, n := make([]float64, points), f.arrivals(), 0
	for i := range shares {
		for n < len(at) && at[n] <= f.length*time.Duration(i+1)/points {
			n++
		}
		shares[i] = 100 * float64(n) / float64(len(f.hosts))
	}
	b.WriteString(line("taken", shares, level))
	return b.String()
}

// axis is the axis of time below a panel.
func (f *fleet) axis() string {
	tick, unit, name := 3*time.Hour, time.Hour, "h"
	for _, t := range []time.Duration{20 * time.Minute, 10 * time.Minute, 5 * time.Minute, 2 * time.Minute} {
		if f.length <= 12*t {
			tick, unit, name = t, time.Minute, "min"
		}
	}
	var b strings.Builder
	for at := time.Duration(0); at <= f.length; at += tick {
		x := float64(at) / float64(f.length) * wide
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f 20v%d"/><text x="%.1f" y="%d" text-anchor="middle">%d %s</text>`,
			x, high, x, high+34, at/unit, name)
	}
	return b.String()
}

// line draws values, evenly spaced.
func line(class string, values []float64, level func(float64) float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<path class="%s" d="M`, class)
	for i, v := range values {
		fmt.Fprintf(&b, "%.0f %.1f ", (float64(i)+0.5)/points*wide, 20+level(v))
	}
	return strings.TrimSuffix(b.String(), " ") + `"/>`
}

// bins returns the busiest second and the mean of each part of the time.
func bins(perSecond []int, length time.Duration) (busiest, mean []float64) {
	busiest, mean = make([]float64, points), make([]float64, points)
	seconds := int(length / time.Second)
	for i := range points {
		part := perSecond[seconds*i/points : max(seconds*(i+1)/points, seconds*i/points+1)]
		sum := 0
		for _, n := range part {
			busiest[i] = max(busiest[i], float64(n))
			sum += n
		}
		mean[i] = float64(sum) / float64(len(part))
	}
	return busiest, mean
}

// decade writes a power of ten.
func decade(power int) string {
	if power < 0 {
		return fmt.Sprintf("%.1f", math.Pow10(power))
	}
	return thousands(int(math.Pow10(power)))
}
