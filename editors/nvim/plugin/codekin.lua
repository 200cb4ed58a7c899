-- Defines the command, the mappings to choose from and the highlights; loads the rest when it is needed.

if vim.g.loaded_codekin then
  return
end
vim.g.loaded_codekin = true

vim.api.nvim_set_hl(0, "CodekinGhost", { link = "Comment", default = true })
vim.api.nvim_set_hl(0, "CodekinNextEdit", { link = "DiffAdd", default = true })
vim.api.nvim_set_hl(0, "CodekinNextEditOld", { link = "DiffDelete", default = true })
vim.api.nvim_set_hl(0, "CodekinScore", { link = "Number", default = true })

vim.api.nvim_create_user_command("Codekin", function(arguments)
  require("codekin.command").run(arguments)
end, {
  nargs = "*",
  range = true,
  desc = "Similar code, search by meaning, completions, fine-tuning",
  complete = function(lead, line)
    return require("codekin.command").complete(lead, line)
  end,
})

local maps = {
  accept = "accept",
  ["accept-word"] = "accept_word",
  ["accept-line"] = "accept_line",
  next = "next",
  previous = "previous",
  dismiss = "dismiss",
  trigger = "trigger",
}
for name, call in pairs(maps) do
  vim.keymap.set("i", ("<Plug>(codekin-%s)"):format(name), function()
    require("codekin")[call]()
  end, { desc = "Codekin: " .. name:gsub("-", " ") })
end
vim.keymap.set("n", "<Plug>(codekin-similar)", "<Cmd>Codekin similar<CR>", { desc = "Codekin: find similar code" })
vim.keymap.set("x", "<Plug>(codekin-similar)", ":Codekin similar<CR>", { desc = "Codekin: find code like the selection" })
vim.keymap.set("n", "<Plug>(codekin-search)", "<Cmd>Codekin search<CR>", { desc = "Codekin: search by meaning" })

local group = vim.api.nvim_create_augroup("codekin", { clear = true })
vim.api.nvim_create_autocmd("LspAttach", {
  group = group,
  desc = "Ghost text and lenses for buffers with Codekin",
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == "codekin" then
      require("codekin").attach(client, event.buf)
    end
  end,
})
vim.api.nvim_create_autocmd("FileType", {
  group = group,
  desc = "Tells once that the server is missing: Neovim itself says nothing",
  callback = function(event)
    if vim.lsp.is_enabled("codekin") then
      require("codekin.client").warn_if_missing(event.match)
    end
  end,
})
