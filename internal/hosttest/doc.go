// Package hosttest holds no code: its tests prove that other programs on a host can use the sidecar's sessions.
package hosttest
