// Package telemetry sets OpenTelemetry up as its documentation does: batch processors, OTLP over gRPC,
// settings from OTEL_* variables.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/log/global"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Disabled leaves all instrumentation out, not only the SDK: the fastest "off" there is.
func Disabled() bool {
	return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true")
}

// Start sets the global providers and the default logger, which writes to standard output and, when
// telemetry is on, by OTLP. What it returns flushes.
func Start(ctx context.Context, name string) (func(context.Context) error, error) {
	lines := slog.NewTextHandler(os.Stdout, nil)
	if Disabled() {
		slog.SetDefault(slog.New(lines))
		return func(context.Context) error { return nil }, nil
	}
	spans, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := otlpmetricgrpc.New(ctx)
	if err != nil {
		return nil, err
	}
	records, err := otlploggrpc.New(ctx)
	if err != nil {
		return nil, err
	}
	tracer := trace.NewTracerProvider(trace.WithBatcher(spans))
	meter := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(metrics)))
	logger := log.NewLoggerProvider(log.WithProcessor(log.NewBatchProcessor(records)))
	otel.SetTracerProvider(tracer)
	otel.SetMeterProvider(meter)
	global.SetLoggerProvider(logger)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(
		propagation.TraceContext{}, propagation.Baggage{}))
	slog.SetDefault(slog.New(slog.NewMultiHandler(lines, otelslog.NewHandler(name))))
	return func(ctx context.Context) error {
		return errors.Join(tracer.Shutdown(ctx), logger.Shutdown(ctx), meter.Shutdown(ctx))
	}, nil
}
