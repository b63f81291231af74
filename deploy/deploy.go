// Package deploy holds the configuration of the servers around the nodes of a cluster.
package deploy

import _ "embed"

// Nginx is nginx.conf. It includes nodes.conf, which stands beside it and names the nodes.
//
//go:embed nginx.conf
var Nginx string
