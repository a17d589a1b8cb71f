// Validates a ServiceMonitor, given as JSON, against the schema of the Prometheus Operator.
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

new ServiceMonitor(JSON.parse(process.argv[2])).validate();
