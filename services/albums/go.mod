module observability-lab/albums

go 1.25
