// Command users answers with the users that are kept in PostgreSQL.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"bench/internal/serve"
	"bench/internal/telemetry"
)

const list = `SELECT id, name, age FROM users WHERE $1::text IS NULL OR name = $1 ORDER BY id LIMIT 1000`

type user struct {
	ID   int32  `json:"id"`
	Name string `json:"name"`
	Age  int32  `json:"age"`
}

func main() {
	if err := serve.Run("users", "USERS_PORT", routes); err != nil {
		log.Fatal(err)
	}
}

func routes(ctx context.Context) (http.Handler, error) {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	// As many connections as the other chains have.
	config.MaxConns = 10
	if !telemetry.Disabled() {
		config.ConnConfig.Tracer = otelpgx.NewTracer()
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users", func(w http.ResponseWriter, r *http.Request) { answer(pool, w, r) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := pool.Ping(r.Context()); err != nil {
			http.Error(w, "no database", http.StatusServiceUnavailable)
		}
	})
	return mux, nil
}

func answer(pool *pgxpool.Pool, w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	var name *string
	if r.URL.Query().Has("name") {
		value := r.URL.Query().Get("name")
		name = &value
	}
	rows, err := pool.Query(r.Context(), list, name)
	if err != nil {
		unavailable(w, r, err)
		return
	}
	users, err := pgx.CollectRows(rows, pgx.RowToStructByPos[user])
	if err != nil {
		unavailable(w, r, err)
		return
	}
	slog.InfoContext(r.Context(), "users listed", "count", len(users))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Process-Time", fmt.Sprintf("%.6f", time.Since(started).Seconds()))
	_ = json.NewEncoder(w).Encode(users)
}

func unavailable(w http.ResponseWriter, r *http.Request, err error) {
	slog.ErrorContext(r.Context(), "the users could not be listed", "error", err)
	http.Error(w, `{"title":"Service Unavailable"}`, http.StatusServiceUnavailable)
}
