// Package faulttest proves, by tests alone, what each fault of AWS and of the way to it does to a sidecar.
package faulttest
