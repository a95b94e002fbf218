// Command fiber stores files as the service does that this project follows: the whole body in memory, written under its
// final name into one flat directory, without a sync; a listing reads the whole directory.
//
//	fiber -listen 127.0.0.1:8082 -dir DIR
package main

import (
	"flag"
	"log"
	"os"
	"path/filepath"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8082", "host:port")
	dir := flag.String("dir", "", "where files are stored")
	flag.Parse()
	app := fiber.New(fiber.Config{BodyLimit: 5 << 30, DisableStartupMessage: true})
	app.Post("/arquivos", func(c *fiber.Ctx) error {
		path := filepath.Join(*dir, uuid.NewString()+".txt")
		if err := os.WriteFile(path, c.Body(), 0o644); err != nil {
			return c.Status(fiber.StatusInternalServerError).JSON(fiber.Map{"error": "Erro ao salvar o arquivo"})
		}
		return c.Status(fiber.StatusCreated).JSON(fiber.Map{"message": "Arquivo salvo com sucesso", "file": path})
	})
	app.Get("/arquivos", func(c *fiber.Ctx) error {
		entries, err := os.ReadDir(*dir)
		if err != nil {
			return c.Status(fiber.StatusInternalServerError).JSON(fiber.Map{"error": "Erro ao listar os arquivos"})
		}
		names := []string{}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return c.JSON(fiber.Map{"files": names})
	})
	app.Get("/arquivos/:name", func(c *fiber.Ctx) error {
		return c.SendFile(filepath.Join(*dir, filepath.Base(c.Params("name"))+".txt"))
	})
	log.Fatal(app.Listen(*address))
}
