package serve

import (
	"fmt"
	"net/netip"
)

// ContainerEnvironment returns the variables, each as NAME=VALUE, that point
// an SDK at a role's session at listen.credentials. Its error is a setting
// that no SDK can use.
//
// A client from before the end of 2023 does not know the token's file; for it
// AWS_CONTAINER_AUTHORIZATION_TOKEN must hold the file's content.
func ContainerEnvironment(address, role, tokenFile, region string) ([]string, error) {
	if path, ok := unixPath(address); ok {
		return nil, fmt.Errorf("listen.credentials is the unix socket %s, where no SDK can be pointed at; set it to a loopback address, or in the SDK's profile set credential_process = outrider credentials %s", path, role)
	}
	if tokenFile == "" {
		return nil, fmt.Errorf("role %s has no token; set roles.%s.token.file in the configuration", role, role)
	}
	url, err := base(address, "listen.credentials")
	if err != nil {
		return nil, err
	}
	return append([]string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + url + "/roles/" + role,
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + tokenFile,
	}, regions(region)...), nil
}

// IMDSEnvironment returns the variables, each as NAME=VALUE, that point an SDK
// at listen.imds. The URL has no slash at its end, since the SDK for Java
// refuses one. The AWS CLI version 2 wants one to be added, as it still did in
// 2.23 (https://github.com/aws/aws-cli/issues/9281).
func IMDSEnvironment(address, region string) ([]string, error) {
	url, err := base(address, "listen.imds.address")
	if err != nil {
		return nil, err
	}
	return append([]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + url}, regions(region)...), nil
}

// base returns the URL of an address, which must be one: some SDKs refuse
// names.
func base(address, key string) (string, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", fmt.Errorf("%s %q is not an address with a port", key, address)
	}
	return "http://" + a.String(), nil
}

// regions names the region under both names, of which each SDK reads its own.
func regions(region string) []string {
	return []string{"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region}
}
