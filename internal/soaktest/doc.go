// Package soaktest proves, by tests alone, that a sidecar loses nothing and grows by nothing however long and however roughly it is used.
package soaktest
