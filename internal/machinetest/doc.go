// Package machinetest tests the package, its units and its hardening on machines that boot a real systemd.
package machinetest
