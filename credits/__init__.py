"""What users may spend: grants, holds and an append-only journal. Knows no batch, no tool."""
