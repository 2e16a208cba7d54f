// Package e2e proves, by tests alone, what the released program does to files, databases and applications.
package e2e
