"""Export of traces by OpenTelemetry's protocol (OTLP over HTTP), under its conventions for generative AI."""
