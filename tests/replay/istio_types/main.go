// Command istio_types reads Istio's objects from standard input, one JSON document a line, into Istio's own types, and
// writes for each what is wrong with it, or an empty line. Unknown fields and values of another type are wrong.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	extensions "istio.io/api/extensions/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingbeta "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
)

var kinds = map[string]func() proto.Message{
	"networking.istio.io/DestinationRule":     func() proto.Message { return &networking.DestinationRule{} },
	"networking.istio.io/EnvoyFilter":         func() proto.Message { return &networking.EnvoyFilter{} },
	"networking.istio.io/Gateway":             func() proto.Message { return &networking.Gateway{} },
	"networking.istio.io/ProxyConfig":         func() proto.Message { return &networkingbeta.ProxyConfig{} },
	"networking.istio.io/ServiceEntry":        func() proto.Message { return &networking.ServiceEntry{} },
	"networking.istio.io/Sidecar":             func() proto.Message { return &networking.Sidecar{} },
	"networking.istio.io/VirtualService":      func() proto.Message { return &networking.VirtualService{} },
	"networking.istio.io/WorkloadEntry":       func() proto.Message { return &networking.WorkloadEntry{} },
	"networking.istio.io/WorkloadGroup":       func() proto.Message { return &networking.WorkloadGroup{} },
	"security.istio.io/AuthorizationPolicy":   func() proto.Message { return &security.AuthorizationPolicy{} },
	"security.istio.io/PeerAuthentication":    func() proto.Message { return &security.PeerAuthentication{} },
	"security.istio.io/RequestAuthentication": func() proto.Message { return &security.RequestAuthentication{} },
	"telemetry.istio.io/Telemetry":            func() proto.Message { return &telemetry.Telemetry{} },
	"extensions.istio.io/WasmPlugin":          func() proto.Message { return &extensions.WasmPlugin{} },
}

func problem(line []byte) string {
	var object struct {
		APIVersion string
		Kind       string
		Spec       json.RawMessage
	}
	if err := json.Unmarshal(line, &object); err != nil {
		return err.Error()
	}
	group, _, _ := strings.Cut(object.APIVersion, "/")
	make, known := kinds[group+"/"+object.Kind]
	if !known {
		return fmt.Sprintf("Istio has no kind %s in %s", object.Kind, group)
	}
	if len(object.Spec) == 0 {
		object.Spec = []byte("{}")
	}
	if err := protojson.Unmarshal(object.Spec, make()); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return ""
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		fmt.Println(problem(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
