// Package localfault proves, by tests alone, what the released sidecar does while its own machine fails it.
package localfault
